"""Tier 1 for middling means: one feature over many cells, by F tabulated at a few means and expanded between them.

As functions of ``x = log m``, for one phi and all k,

    F' = -G,   G = (k + 1) P(k + 1),   G' = A G,   A = p (k + 1) - c,   c = p m,   A' = -q A - c,

so that F near a tabulated mean follows from F alone, to the third power of the distance. What is left out is at most
``fourth_derivative(phi) d**4 / 24``, for all k at once; `docs/kernel.md` has the proof. A count is certain where
F(y - 1) and F(y) stay clear of u by that bound.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.elementary import exp, log1p
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.negbin import POISSON_PHI
from streamsample.kernels.philox import LOW, philox
from streamsample.kernels.waiting import full, wait

LANES = 512  # counts in work at once
TABLE = 98_304  # entries of F: three quarters of a MiB, within a core's L2
MOST_ROWS = 512  # means at which F is tabulated
LEAST_MEAN = 3.0  # below, brackets and sums from 0 are faster
LEAST_CELLS = 512  # fewer would spend more on the table than they save
BUCKETS = 64  # of u, from which a search starts
ROWS_A_GUIDE = 4
ROUNDS = 4  # of Newton's method; what is not found by then is left to others
ROUNDING = 1e-9  # above all errors of float64 in here, which stay below 1e-10
LARGEST_EXPONENT = 600.0
SCRATCH = 11  # rows of LANES numbers
ONE, TWO = np.uint64(1), np.uint64(2)
HI = 2.0**-32  # hi is u in these units, rounded down


class Column(NamedTuple):
    """Tables of one feature."""

    low: float
    """Logarithm of the first mean."""
    distance: float
    """From one mean to the next."""
    bound: float
    """What an expanded F may be off."""
    shift: NDArray[np.float64]
    """(C,) logarithm of the mean at size factor 1."""
    table: NDArray[np.float64]
    """(R, K + 1) F(-1), F(0), ..., F(K - 1) for each mean."""
    p: NDArray[np.float64]
    """(R,)."""
    c: NDArray[np.float64]
    """(R,)."""
    place: NDArray[np.float64]
    """(guides, BUCKETS + 1) of `fill_guide`."""
    slope: NDArray[np.float64]
    """(guides, BUCKETS + 1)."""


@kernel
def fourth_derivative(phi):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Bound of |F''''| over all k and m; half the root of a moment of the gamma distribution."""
    return 0.5 * math.sqrt(phi * (675.0 + phi * (1010.0 + phi * (360.0 + phi * 24.0))))


@kernel
def table_shape(least, most, phi, ncells, limit):  # type: ignore[no-untyped-def]
    """How F is to be tabulated for means in [least, most]: (rows, distance of their logarithms, terms), or no rows.

    `limit` is the largest count that can be stored.
    """
    if ncells < LEAST_CELLS or not least * most >= LEAST_MEAN * LEAST_MEAN:
        return 0, 0.0, 0
    if phi * math.log1p(most / phi) > LARGEST_EXPONENT:
        return 0, 0.0, 0
    mean, width = math.sqrt(least * most), math.log(most / least)
    middle = mean * math.exp(0.25 * width)  # few cells are deeper
    terms = min(middle + 5.0 * math.sqrt(middle + middle * middle / phi) + 4.0, limit + 3.0)
    # A wider distance costs counts in doubt, a narrower one entries; both as measured.
    distance = ((width + 0.05) / (3.0 * ncells * fourth_derivative(min(phi, terms)))) ** 0.2
    rows = math.ceil(width / distance) + 1.0
    if rows > MOST_ROWS or rows * (terms + 1.0) > TABLE:
        return 0, 0.0, 0
    return int(rows), distance, int(terms)


@kernel
def fill_table(low, distance, phi, ratio, table, p, c):  # type: ignore[no-untyped-def]
    """Tabulate F at log means `low`, `low` + `distance`, ...

    ratio: (K,) scratch; table: (R, K + 1): F(-1) = 0, F(0), ..., F(K - 1); p, c: (R,).
    """
    for k in range(ratio.size):
        ratio[k] = (phi + k) / (k + 1.0)
    for r in range(p.size):
        m = exp(low + r * distance)
        p[r] = phi / (phi + m)
        c[r] = p[r] * m
    r = 0
    while r + 4 <= p.size:
        sum_rows(low + r * distance, distance, phi, ratio, table[r : r + 4])
        r += 4
    while r < p.size:
        sum_row(low + r * distance, phi, ratio, table[r])
        r += 1


@kernel
def start_row(x, phi):  # type: ignore[no-untyped-def]
    """P(0) and q at the mean exp(x)."""
    m = exp(x)
    return exp(-phi * log1p(m / phi)), m / (phi + m)


@kernel
def sum_row(x, phi, ratio, row):  # type: ignore[no-untyped-def]
    """Sum one row of the table upwards, its relative error as in `negbin.sum_upwards`."""
    term, q = start_row(x, phi)
    row[0] = 0.0
    total = term
    for k in range(ratio.size):
        row[k + 1] = total
        term *= ratio[k] * q
        total += term


@kernel
def sum_rows(x, distance, phi, ratio, rows):  # type: ignore[no-untyped-def]
    """Sum four rows side by side: one alone waits for its own additions (0.9 ns an entry; so, 0.3)."""
    a, qa = start_row(x, phi)
    b, qb = start_row(x + distance, phi)
    c, qc = start_row(x + 2.0 * distance, phi)
    d, qd = start_row(x + 3.0 * distance, phi)
    rows[:, 0] = 0.0
    row_a, row_b, row_c, row_d = rows[0, 1:], rows[1, 1:], rows[2, 1:], rows[3, 1:]
    sum_a, sum_b, sum_c, sum_d = a, b, c, d
    for k in range(ratio.size):
        row_a[k], row_b[k], row_c[k], row_d[k] = sum_a, sum_b, sum_c, sum_d
        a *= ratio[k] * qa
        b *= ratio[k] * qb
        c *= ratio[k] * qc
        d *= ratio[k] * qd
        sum_a += a
        sum_b += b
        sum_c += c
        sum_d += d


@kernel
def fill_guide(row, place, slope):  # type: ignore[no-untyped-def]
    """Where F, drawn with straight lines, reaches the multiples of 1/BUCKETS, and that place's derivative in log m.

    row: (K + 1,) of the table; place, slope: (BUCKETS + 1,). Nothing rests on them but time.
    """
    k = 0
    last = row.size - 3
    for j in range(BUCKETS + 1):
        u = j * (1.0 / BUCKETS)
        while k < last and row[k + 1] < u:
            k += 1
        step = row[k + 1] - row[k]
        part = min((u - row[k]) / step, 1.0)
        place[j] = k - 1.0 + part
        slope[j] = ((k + 1.0) * (row[k + 2] - row[k + 1]) * part + k * step * (1.0 - part)) / step


@kernel
def fill_column_words(feature, quads, sample, key, words):  # type: ignore[no-untyped-def]
    """The words `hi` of one feature for a run of quads; words: (4, >= Q) uint32."""
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    k0, k1 = key[0], key[1]
    for j in range(quads.size):
        a, b, c, d = philox(feature & LOW, quads[j] & LOW, sample & LOW, np.uint64(0), k0, k1)
        w0[j] = a
        w1[j] = b
        w2[j] = c
        w3[j] = d


@kernel
def tabulate(block, column, least, most, ncells, limit):  # type: ignore[no-untyped-def]
    """Tabulate F for one feature of a block; arguments as in `table_shape`, which has given it a table."""
    base, phi = block.base, min(block.phi[column], POISSON_PHI)
    rows, distance, terms = table_shape(least, most, phi, ncells, limit)
    low = math.log(least)
    shift = np.empty(base.shape[0], np.float64)
    for group in range(shift.size):
        shift[group] = math.log(base[group, column])
    table, p, c = np.empty((rows, terms + 1), np.float64), np.empty(rows, np.float64), np.empty(rows, np.float64)
    fill_table(low, distance, phi, np.empty(terms, np.float64), table, p, c)
    guides = (rows + ROWS_A_GUIDE - 1) // ROWS_A_GUIDE
    place, slope = np.empty((guides, BUCKETS + 1), np.float64), np.empty((guides, BUCKETS + 1), np.float64)
    for g in range(guides):
        fill_guide(table[min(g * ROWS_A_GUIDE + ROWS_A_GUIDE // 2, rows - 1)], place[g], slope[g])
    bound = 1.001 * fourth_derivative(min(phi, np.float64(terms))) * (0.5 * distance) ** 4 / 24.0 + ROUNDING
    return Column(low, distance, bound, shift, table, p, c, place, slope)


@kernel
def fill_column(block, column, of, sample, key, quads, lanes, layout, out, queue, first):  # type: ignore[no-untyped-def]
    """Fill one feature's counts from quad `first` on, until the queue is full; returns where to go on.

    Without design and zero inflation. column: its position in the block; of: its tables; quads: (Q,); lanes: (Q, 4);
    out: (N, L) counts of the block.
    """
    feature = block.features[column]
    limit = (np.int64(1) << (8 * out.itemsize)) - 1
    words, work = np.empty((4, LANES), np.uint32), np.empty((SCRATCH, LANES), np.float64)
    x, y = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    for j0 in range(first, quads.size, LANES):
        if full(queue):
            return j0
        size = min(LANES, quads.size - j0)
        fill_column_words(feature, quads[j0 : j0 + size], sample, key, words)
        for lane in range(4):
            for j in range(size):
                n = lanes[j0 + j, lane]
                x[j] = of.shift[layout.group[n]] + layout.log_factor[n] if n >= 0 else of.low
            settle_column(words[lane][:size], x[:size], of, limit, work, y[:size])
            for j in range(size):
                n = lanes[j0 + j, lane]
                if n < 0:
                    continue
                if y[j] >= 0.0:
                    out[n, column] = np.int64(y[j])
                else:
                    m = block.base[layout.group[n], column] * layout.size_factor[n]
                    wait(queue, n, column, feature, quads[j0 + j], lane, words[lane, j], m, block.phi[column], 0.0)
    return quads.size


@kernel
def settle_column(hi, x, of, limit, work, y):  # type: ignore[no-untyped-def]
    """Settle the counts of one feature in up to LANES cells: y is the count where it is certain, else -1.

    hi: (L,) uint32; x: (L,) log means; limit: the largest count that can be stored; work: (SCRATCH, >= L) float64;
    y: (L,) float64.
    """
    size, low, distance, bound, table = hi.size, of.low, of.distance, of.bound, of.table
    top = np.float64(min(table.shape[1] - 3, limit))
    u, row, d, k, lane = work[0][:size], work[1][:size], work[2][:size], work[3][:size], work[4]
    for i in range(size):
        u[i] = np.float64(np.uint64(hi[i])) * HI
    for i in range(size):
        row[i] = np.floor((x[i] - low) * (1.0 / distance) + 0.5)
    for i in range(size):
        d[i] = x[i] - (low + row[i] * distance)
    first_guess(u, row, d, distance, of.place.ravel(), of.slope.ravel(), top, work[5:], k)
    expand(row, d, k, table.ravel(), table.shape[1], of.p, of.c, work[5:])
    below, above, up, down, better = work[5][:size], work[6][:size], work[7], work[8], work[9][:size]
    improve(u, k, above, up, down, better, top)
    for i in range(size):
        y[i] = k[i] if (below[i] <= u[i] - bound) & (above[i] >= u[i] + (HI + bound)) else -1.0
    left = np.int64(0)
    for i in range(size):
        lane[left] = i
        left += np.int64((y[i] < 0.0) & (better[i] != k[i]))
    for i in range(left):
        j = np.int64(lane[i])
        u[i], row[i], d[i], k[i] = u[j], row[j], d[j], better[j]
    rounds = 1
    while left > 0 and rounds < ROUNDS:
        left = settle_again(
            u[:left], row[:left], d[:left], k[:left], lane[:left], bound, table, of.p, of.c, top, work[5:], y
        )  # fmt: skip
        rounds += 1


@kernel
def settle_again(u, row, d, k, lane, bound, table, p, c, top, work, y):  # type: ignore[no-untyped-def]
    """One more round for the lanes that are left; returns how many still are, moved to the front."""
    expand(row, d, k, table.ravel(), table.shape[1], p, c, work)
    below, above, better = work[0], work[1], work[4]
    improve(u, k, above, work[2], work[3], better, top)
    left = 0
    for i in range(u.size):
        if (below[i] <= u[i] - bound) & (above[i] >= u[i] + (HI + bound)):
            y[np.int64(lane[i])] = k[i]
        elif better[i] != k[i]:  # else u is too near a step, or beyond the table
            lane[left], u[left], row[left], d[left], k[left] = lane[i], u[i], row[i], d[i], better[i]
            left += 1
    return left


@kernel
def first_guess(u, row, d, distance, place, slope, top, work, k):  # type: ignore[no-untyped-def]
    """Guess the counts; place, slope: flat."""
    size = u.size
    a, b, e, f, part = work[0][:size], work[1][:size], work[2][:size], work[3][:size], work[4][:size]
    # LLVM makes no gathers on this family of processors: values are fetched one by one, and worked on in lanes.
    for i in range(size):
        bucket = np.uint64(np.int64(u[i] * BUCKETS))
        j = np.uint64(np.int64(row[i])) // np.uint64(ROWS_A_GUIDE) * np.uint64(BUCKETS + 1) + bucket
        a[i], b[i], e[i], f[i] = place[j], place[j + ONE], slope[j], slope[j + ONE]
    for i in range(size):
        part[i] = u[i] * BUCKETS - np.floor(u[i] * BUCKETS)
    for i in range(size):
        e[i] += part[i] * (f[i] - e[i])
    for i in range(size):
        within = row[i] - ROWS_A_GUIDE * np.floor(row[i] * (1.0 / ROWS_A_GUIDE)) - ROWS_A_GUIDE // 2
        f[i] = d[i] + within * distance
    for i in range(size):
        g = np.ceil(a[i] + part[i] * (b[i] - a[i]) + f[i] * e[i])
        g = g if g > 0.0 else 0.0
        k[i] = g if g < top else top


@kernel
def expand(row, d, k, table, stride, p, c, work):  # type: ignore[no-untyped-def]
    """F(k - 1), F(k), P(k) and P(k + 1) at the lanes' own means, the last two roughly: to rows 0 to 3 of `work`."""
    size = k.size
    f0, f1, f2, step = work[0][:size], work[1][:size], work[2][:size], work[3][:size]
    pp, cc = work[4][:size], work[5][:size]
    for i in range(size):
        r = np.uint64(np.int64(row[i]))
        j = r * np.uint64(stride) + np.uint64(np.int64(k[i]))
        f0[i], f1[i], f2[i] = table[j], table[j + ONE], table[j + TWO]
        pp[i], cc[i] = p[r], c[r]
    for i in range(size):
        step[i] = f1[i] - f0[i]
    for i in range(size):
        f2[i] = f2[i] - f1[i]
    for i in range(size):
        f0[i] = near(k[i], f0[i], step[i], d[i], pp[i], cc[i])
    for i in range(size):
        f1[i] = near(k[i] + 1.0, f1[i], f2[i], d[i], pp[i], cc[i])


@inlined
def near(k1, f, step, d, p, c):  # type: ignore[no-untyped-def]
    """F(k) at a distance of d in log m from where it is f; ``k1 = k + 1``, `step` = P(k + 1)."""
    a = p * k1 - c
    return f - d * (k1 * step) * (1.0 + d * (0.5 * a + d * (1.0 / 6.0) * (a * (a - (1.0 - p)) - c)))


@kernel
def improve(u, k, above, up, down, better, top):  # type: ignore[no-untyped-def]
    """Newton's next k: upwards by P(k + 1), downwards by P(k), as from either side of a step."""
    for i in range(u.size):
        gap = u[i] - above[i]
        g = np.ceil(k[i] + gap / ((up[i] if gap > 0.0 else down[i]) + 1e-30))
        g = g if g > 0.0 else 0.0
        better[i] = g if g < top else top
