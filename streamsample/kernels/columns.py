"""Tier 1 for middling means: one feature over many cells, by F tabulated at a few means and expanded between them.

Newton's method on 512 counts at once, with tables of `column_tables`. A count is certain where F(y - 1) and F(y) stay
clear of u by the bound of what the expansion leaves out.
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.column_tables import BUCKETS, ROWS_A_GUIDE
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.philox import LOW, philox
from streamsample.kernels.waiting import full, wait

LANES = 512  # counts in work at once
ROUNDS = 4  # of Newton's method; what is not found by then is left to others
SCRATCH = 11  # rows of LANES numbers
ONE, TWO = np.uint64(1), np.uint64(2)
HI = 2.0**-32  # hi is u in these units, rounded down


@kernel
def fill_column_words(feature, quads, sample, key, words):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
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
