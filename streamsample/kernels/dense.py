"""Tier 1 for what other routes leave: many small counts at once, in SIMD lanes.

Doubtful counts of many cells are collected and summed upwards together, term by term as `negbin.sum_upwards` does,
eight terms at a time, so that no lane waits for another. A count is certain where F(y - 1) and F(y) stay clear of v by
a relative MARGIN, which covers every rounding error; larger counts and closer calls are left to tier 2.
"""

from __future__ import annotations

from streamsample.kernels.elementary import exp, log, lost
from streamsample.kernels.jit import kernel

LANES = 1024  # counts at once
TERMS = 8  # added in one go
MARGIN = 2.0**-36  # above (EXP_ERROR + (LOG_ERROR + 4) 600 + 7 * 128) U, of a sum at the largest exponent, and of v
LARGEST_EXPONENT = 600.0
LARGE = 96.0  # means for which 128 terms would be too few, unless phi is small
# All of a lane's numbers are in one array at constant distances: LLVM then knows them to be disjoint, and keeps eight
# terms in registers. As arrays of their own they took more checks than it is willing to make, or a loop a term each.
STRIDE = LANES + 8  # rows that are powers of two apart would share the same few lines of the cache
PHI, V, Q, TERM, TOTAL, Y, DOUBT, WHO = (STRIDE * i for i in range(8))
ROWS = 8


@kernel
def start_sums(w, m, size):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Begin the sums of `size` lanes at P(0).

    w: (ROWS * STRIDE,) with PHI (at most POISSON_PHI) and V filled; m: (>= size,) means. MARGIN covers what one
    reciprocal in place of two quotients adds.
    """
    for i in range(size):
        phi = w[PHI + i]
        x = m[i] / phi
        y = 1.0 + x
        r = 1.0 / y
        exponent = phi * (log(y) + lost(x, y) * r)
        hopeless = (exponent >= LARGEST_EXPONENT) | ((m[i] > LARGE) & (phi > 1.0))
        w[Q + i] = x * r
        w[DOUBT + i] = 1.0 if hopeless else 0.0
        w[TERM + i] = exponent if exponent < LARGEST_EXPONENT else LARGEST_EXPONENT
    for i in range(size):
        w[TERM + i] = exp(-w[TERM + i])
        w[TOTAL + i] = w[TERM + i]
        w[Y + i] = 0.0


@kernel
def add_terms(w, size, first):  # type: ignore[no-untyped-def]
    """Compare the sums with v and add a term, for terms `first` to `first` + TERMS - 1."""
    for i in range(size):
        phi, v, q = w[PHI + i], w[V + i], w[Q + i]
        term, total, y, doubt = w[TERM + i], w[TOTAL + i], w[Y + i], w[DOUBT + i]
        low, margin = v * (1.0 - MARGIN), v * MARGIN
        for j in range(TERMS):
            k = first + j
            y += 1.0 if total < low else 0.0
            doubt += 1.0 if abs(total - v) <= margin else 0.0
            term *= (phi + k) * q * (1.0 / (k + 1.0))
            total += term
        w[TERM + i], w[TOTAL + i], w[Y + i], w[DOUBT + i] = term, total, y, doubt
