"""Tables for the route of middling means: F at a few means, and where a search in them starts.

As functions of ``x = log m``, for one phi and all k,

    F' = -G,   G = (k + 1) P(k + 1),   G' = A G,   A = p (k + 1) - c,   c = p m,   A' = -q A - c,

so that F near a tabulated mean follows from F alone, to the third power of the distance. What is left out is at most
``fourth_derivative(phi) d**4 / 24``, for all k at once; `docs/kernel.md` has the proof.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.elementary import exp, log1p
from streamsample.kernels.jit import kernel
from streamsample.kernels.negbin import POISSON_PHI

TABLE = 98_304  # entries of F: three quarters of a MiB, within a core's L2
MOST_ROWS = 512  # means at which F is tabulated
LEAST_MEAN = 3.0  # below, brackets and sums from 0 are faster
LEAST_CELLS = 512  # fewer would spend more on the table than they save
BUCKETS = 64  # of u, from which a search starts
ROWS_A_GUIDE = 4
ROUNDING = 1e-9  # above all errors of float64 in here, which stay below 1e-10
LARGEST_EXPONENT = 600.0


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
