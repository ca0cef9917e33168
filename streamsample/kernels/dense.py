"""Tier 1 for what the brackets leave: many small counts at once, in SIMD lanes.

Doubtful counts of many cells are collected and summed upwards together, term by term as `negbin.sum_upwards` does,
for a fixed number of terms, so that no lane waits for another; what has not been reached by then goes on together with
its like to more terms. A count is certain where F(y - 1) and F(y) stay clear of u by a relative MARGIN, which covers
every rounding error; larger counts and closer calls are left to tier 2.
"""

from __future__ import annotations

from streamsample.kernels.elementary import exp, log1p
from streamsample.kernels.jit import kernel

STEPS = (8, 32, 128)  # terms summed for all lanes, for those that are left, and for those that still are
MARGIN = 2.0**-36  # above (EXP_ERROR + (LOG_ERROR + 4) 600 + 7 * 128) U, the error of a sum at the largest exponent
LARGEST_EXPONENT = 600.0
ROWS = 4  # rows of scratch


@kernel
def sum_lanes(m, phi, u, steps, work, y):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Quantiles of u under (m, phi), lane by lane: y is the count where it is certain and below `steps`, else -1.

    m, phi, u, y: (L,) float64, phi at most POISSON_PHI; work: (ROWS, >= L) float64.
    """
    size = y.size
    term, total, q, doubt = work[0], work[1], work[2], work[3]
    # Short loops over few arrays, as in brackets.fill_brackets.
    for i in range(size):
        x = phi[i] * log1p(m[i] / phi[i])
        term[i] = x if x < LARGEST_EXPONENT else LARGEST_EXPONENT
    for i in range(size):
        doubt[i] = 1.0 if term[i] >= LARGEST_EXPONENT else 0.0
    for i in range(size):
        term[i] = exp(-term[i])
    for i in range(size):
        q[i] = m[i] / (phi[i] + m[i])
    for i in range(size):
        total[i] = term[i]
    for i in range(size):
        y[i] = 0.0
    for k in range(steps):
        for i in range(size):
            y[i] += 1.0 if total[i] < u[i] * (1.0 - MARGIN) else 0.0
        for i in range(size):
            doubt[i] += 1.0 if abs(total[i] - u[i]) <= u[i] * MARGIN else 0.0
        factor = 1.0 / (k + 1.0)
        for i in range(size):
            term[i] *= (phi[i] + k) * q[i] * factor
        for i in range(size):
            total[i] += term[i]
    for i in range(size):
        y[i] = y[i] if doubt[i] == 0.0 and y[i] < steps else -1.0
