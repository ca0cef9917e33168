"""Tier 2: the quantile of one negative binomial in float64, with a bound that says when it is certain.

Small quantiles are summed upwards from P(0). Others are searched for with F(k), or 1 - F(k) where that is the smaller
(`tails`). Errors are relative and in units of U = 2**-53 unless they say otherwise.

Without zero inflation u is what is to be reached, and 1 - u what is left above it. Otherwise a count is the quantile at
``v = (u - pi)/(1 - pi)`` with ``w = (1 - u)/(1 - pi)`` above. Both come as a pair, for 1 - v would lose what w has.
"""

from __future__ import annotations

import math

import numpy as np

from streamsample.kernels.elementary import EXP_ERROR, LOG_ERROR, U, exp, log1p
from streamsample.kernels.jit import kernel
from streamsample.kernels.tails import SMALLEST_EXPONENT, SPLIT_ERROR, evaluate

CERTAIN, UNDECIDED, OVERFLOW, BEYOND = 0, 1, 2, 3
COUNT_MAX = 2**32 - 1

# Poisson is the limit of large phi. At 1e40 the two differ by less than (k + m)**2 / 1e40 < 1e-20, far below any
# bound used here, so one set of formulas serves both; tier 3 uses the Poisson's own.
POISSON_PHI = 1e40

SUM_MEAN = 64.0  # up to this mean summing from 0 is at least as fast as the search
SUM_TERMS = 256  # summing stops here; the search starts from what it has shown
WALK = 64  # neighbours visited by the recurrence before another continued fraction is cheaper


@kernel
def split(u, inflation):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Where u lies in what zero inflation leaves: (v, w); v <= 0 where the count is an inflated zero."""
    rest = 1.0 - inflation
    return (u - inflation) / rest, (1.0 - u) / rest


@kernel
def sum_upwards(m, phi, v):  # type: ignore[no-untyped-def]
    """Sum P(0) + P(1) + ... until it reaches v; (k, status).

    Every term is positive, so the relative error of the sum is at most that of its worst term:
    the exponent's for P(0), six roundings a step, and one an addition.
    """
    exponent = phi * log1p(m / phi)
    if exponent > -SMALLEST_EXPONENT:
        return -1, BEYOND
    error = EXP_ERROR + (LOG_ERROR + 4.0) * exponent + SPLIT_ERROR
    q = m / (phi + m)
    term = exp(-exponent)
    total = term
    near = v * (1.0 - 2.0**-36)  # (error + 7 SUM_TERMS) U < 2**-36 for every exponent met here
    k = 0
    while total < near:
        if k == SUM_TERMS:
            return k, BEYOND
        term *= (phi + k) * q / (k + 1.0)
        total += term
        k += 1
    while True:
        bound = total * ((error + 7.0 * k) * U)
        if total - bound >= v:
            return k, CERTAIN
        if total + bound >= v:
            return k, UNDECIDED
        term *= (phi + k) * q / (k + 1.0)
        total += term
        k += 1


@kernel
def first_guess(m, phi, v, w):  # type: ignore[no-untyped-def]
    """Somewhere near the quantile; nothing rests on it but the time that the search takes."""
    t = math.sqrt(-2.0 * math.log(min(v, w)))
    z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    if v < w:
        z = -z
    if phi > 8.0:  # Cornish and Fisher
        p, q = phi / (phi + m), m / (phi + m)
        skew = (1.0 + q) / math.sqrt(phi * q)
        kurtosis = 6.0 / phi + p * p / (phi * q)
        x = z + (z * z - 1.0) * skew / 6.0
        x += (z * z * z - 3.0 * z) * kurtosis / 24.0 - (2.0 * z * z * z - 5.0 * z) * skew * skew / 36.0
        return m + math.sqrt(m + m * m / phi) * x - 0.5
    root = 1.0 - 1.0 / (9.0 * phi) + z / (3.0 * math.sqrt(phi))  # Wilson and Hilferty, for the gamma part
    if root > 0.3:
        return m * root * root * root
    return m / phi * (0.56 + 0.44 * phi) * math.exp(math.log(v) / phi)


@kernel
def search(m, phi, v, w, low):  # type: ignore[no-untyped-def]
    """Find the quantile, known to be above `low`; (k, status)."""
    high = np.float64(COUNT_MAX) + 1.0  # F(high) >= v is not known: reaching it means an overflow
    k = np.floor(first_guess(m, phi, v, w))
    status = UNDECIDED
    for _ in range(200):
        k = min(max(k, low + 1.0), high - 1.0)
        d, e, pmf, r, tail = evaluate(k, m, phi, v, w)
        if abs(d) <= 0.25 * WALK * pmf or high - low <= WALK:
            return walk(k, d, e, pmf, r, m, phi)
        if d > e:
            high = k
        elif d < -e:
            low = k
        else:
            return np.int64(k), status
        if low >= np.float64(COUNT_MAX):
            return np.int64(COUNT_MAX), OVERFLOW
        k = np.floor(step(k, pmf, tail, m, phi, v, w))
        if not (k > low and k < high):
            k = np.floor(low + 0.5 * (high - low)) if high < 4.0 * (low + 16.0) else np.floor(4.0 * (low + 8.0))
    return np.int64(k), status


@kernel
def step(k, pmf, tail, m, phi, v, w):  # type: ignore[no-untyped-def]
    """Newton's next k, on the logarithm of the smaller tail, which is nearly straight."""
    if pmf <= 0.0 or tail <= 0.0:
        return -1.0
    if phi * (m - k - 1.0) / (phi + m) >= -0.5:
        change = (math.log(v) - math.log(tail)) * tail / pmf
        if phi < 1.0:  # F grows like a power of k
            return k * math.exp(min(change / max(k, 1.0), 40.0))
        return k + change
    return k + (math.log(tail) - math.log(w)) * tail / pmf


@kernel
def walk(k, d, e, pmf, r, m, phi):  # type: ignore[no-untyped-def]
    """Step from neighbour to neighbour until F(y - 1) < v <= F(y); (y, status).

    d = F(k) - v within e; pmf = P(k) within a relative r. Each step adds the error of the term that it adds.
    """
    q = m / (phi + m)
    while d >= 0.0:
        if k == 0.0:
            return np.int64(0), CERTAIN if d > e else UNDECIDED
        before = d - pmf
        spread = e + (pmf * r + 2.0 * U * abs(before))
        if before < 0.0:
            return np.int64(k), CERTAIN if d > e and before < -spread else UNDECIDED
        d, e = before, spread
        pmf *= k / ((phi + (k - 1.0)) * q)
        r += 6.0 * U
        k -= 1.0
    while True:
        if not d <= -e:
            return np.int64(k), UNDECIDED
        if k >= np.float64(COUNT_MAX):
            return np.int64(COUNT_MAX), OVERFLOW
        pmf *= (phi + k) * q / (k + 1.0)
        r += 6.0 * U
        k += 1.0
        d += pmf
        e += pmf * r + 2.0 * U * abs(d)
        if d >= 0.0:
            return np.int64(k), CERTAIN if d > e else UNDECIDED


@kernel
def quantile(m, phi, v, w):  # type: ignore[no-untyped-def]
    """``min {k : F(k; m, phi) >= v}`` and how sure that is: (k, status).

    CERTAIN: k is the quantile. UNDECIDED: it is k or a neighbour, for tier 3 to say. OVERFLOW: above 2**32 - 1.
    m in [0, 1e7]; phi in [1e-6, 1e12] or inf; v and w as `split` gives them.
    """
    if m == 0.0 or v <= 0.0:
        return np.int64(0), CERTAIN
    phi = min(phi, POISSON_PHI)
    low = -1.0
    if m <= SUM_MEAN or phi <= 1.0:
        k, status = sum_upwards(m, phi, v)
        if status == CERTAIN:
            return np.int64(k), status
        # Not reached; or too near a step for a sum, whose error is relative to F: then 1 - F may still tell.
        low = np.float64(k) - (1.0 if status == UNDECIDED else 0.0)
    return search(m, phi, v, w, low)
