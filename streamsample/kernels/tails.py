"""F(k) of one negative binomial, or 1 - F(k) where that is the smaller, each with a bound of its error.

A prefactor in Loader's saddle-point form times a continued fraction of positive terms, whose successive convergents
bracket it, so that the truncation error is known and not guessed. `docs/kernel.md` has the maths.

The notation of the incomplete beta function is used throughout: ``a = k + 1``, ``b = phi``, ``p = phi/(phi + m)``,
``q = m/(phi + m)``; ``F(k) = I_p(b, a)`` and ``1 - F(k) = I_q(a, b)``. Errors are relative and in units of U = 2**-53
unless they say otherwise.
"""

from __future__ import annotations

import math

from streamsample.kernels.elementary import (
    DEVIANCE_ERROR,
    EXP_ERROR,
    STIRLING_ERROR,
    STIRLING_ERROR_SMALL,
    U,
    deviance,
    exp,
    stirling,
)
from streamsample.kernels.jit import kernel

CHAIN_PHI = 64.0  # below, the upper tail is reduced to phi <= 1 by a finite sum of positive terms
SMALLEST_EXPONENT = -690.0  # exp of less is taken as 0 with an absolute error of 1e-299: nothing is ever subnormal
SPLIT_ERROR = 4.0  # relative, of v and w: three roundings each (none without zero inflation, where they are exact)


@kernel
def prefactor(a, m, phi):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """``q**a p**b / B(a, b)``, and its error.

    Loader's form: ``sqrt(a b / (2 pi (a + b))) exp(f(a + b) - f(a) - f(b) - D)`` with the deviance
    ``D = n p h((b - n p)/(n p)) + n q h((a - n q)/(n q))``, n = a + b: both parts positive, no cancellation at all.
    """
    r = a - m
    n = a + phi
    h1, c1 = deviance(-r / n)
    h2, c2 = deviance(phi * r / (m * n))
    w1 = phi * n / (phi + m)
    w2 = n * m / (phi + m)
    d = w1 * h1 + w2 * h2
    exponent = stirling(n) - stirling(a) - stirling(phi) - d
    if exponent < SMALLEST_EXPONENT:
        return 0.0, 0.0
    rest = 2.0 * STIRLING_ERROR + (STIRLING_ERROR if phi >= 1.0 else STIRLING_ERROR_SMALL) + EXP_ERROR + 16.0
    error = (DEVIANCE_ERROR + 6.0) * d + 6.0 * (w1 * c1 + w2 * c2) + rest
    root = math.sqrt(a * (phi / n) * (1.0 / (2.0 * math.pi)))
    return root * exp(exponent), error


@kernel
def convergents(a, b, x, slack, last, floor):  # type: ignore[no-untyped-def]
    """DiDonato and Morris' continued fraction of ``I_x(a, b)`` over its prefactor: (value, error).

    ``slack = a - (a + b) x >= -1/2``. Terms up to index `last` are positive: convergents bracket the value.
    Two recurrences of positive numbers, 14 roundings an index; stops when the bracket is as narrow as their error,
    or `floor` relative.
    """
    x2 = x * x
    above, below = 1.0, a / (a + 1.0) * (slack + 1.0)  # numerator and denominator of the first convergent
    above_1, below_1 = 0.0, 1.0
    n = 1.0
    value = above / below
    gap = value
    while n < last:
        c = 1.0 / (a + 2.0 * n - 1.0)
        alpha = ((a + (n - 1.0)) * c) * ((a + b + (n - 1.0)) * c) * (n * (b - n)) * x2
        beta = n + n * (b - n) * x * c + (a + n) / (a + 2.0 * n + 1.0) * (slack + 1.0 + n * (2.0 - x))
        above, above_1 = beta * above + alpha * above_1, above
        below, below_1 = beta * below + alpha * below_1, below
        n += 1.0
        newer = above / below
        gap = abs(newer - value)
        value = newer
        if gap <= value * max(floor, 4.0 * n * U):
            break
        if below > 2.0**400:  # rescale by a power of two: exact
            above *= 2.0**-400
            below *= 2.0**-400
            above_1 *= 2.0**-400
            below_1 *= 2.0**-400
    if n == b:  # the next element is 0: the fraction has ended, and the value is exact
        gap = 0.0
    return value, gap / value / U + 16.0 * n + 16.0


@kernel
def stieltjes(a, b, w):  # type: ignore[no-untyped-def]
    """``2F1(1 - b, 1; a + 1; -w)`` for 0 < b <= 1 by Gauss' continued fraction: (value, error).

    All its elements are positive, so that convergents bracket the value.
    """
    above, above_1 = 1.0, 1.0
    below, below_1 = 1.0 + (1.0 - b) / (a + 1.0) * w, 1.0
    value = above / below
    gap = value
    j = 1.0
    while j < 1e5:
        even = j * (a + b + j - 1.0) / ((a + 2.0 * j - 1.0) * (a + 2.0 * j)) * w
        above, above_1 = above + even * above_1, above
        below, below_1 = below + even * below_1, below
        odd = (1.0 - b + j) * (a + j) / ((a + 2.0 * j) * (a + 2.0 * j + 1.0)) * w
        above, above_1 = above + odd * above_1, above
        below, below_1 = below + odd * below_1, below
        j += 1.0
        value = above / below
        gap = abs(value - above_1 / below_1)
        if gap <= value * (8.0 * j * U):
            break
        if below > 2.0**400:
            above *= 2.0**-400
            below *= 2.0**-400
            above_1 *= 2.0**-400
            below_1 *= 2.0**-400
    return value, gap / value / U + 24.0 * j + 16.0


@kernel
def upper_chain(a, m, phi, front):  # type: ignore[no-untyped-def]
    """``I_q(a, b)`` for moderate b, given its prefactor: (value, error).

    ``I_q(a, b) = I_q(a, b - 1) + q**a p**(b-1) / ((b - 1) B(a, b - 1))`` down to 0 < b <= 1: positive terms only.
    """
    steps = math.ceil(phi) - 1.0
    b = phi - steps  # exact
    p = phi / (phi + m)
    total = 0.0
    term = front
    if steps > 0.0:
        term = front / (p * (a + phi - 1.0))
        total = term
        i = steps - 1.0
        while i > 0.0:
            term *= (b + i) / (p * (a + b + i - 1.0))
            total += term
            i -= 1.0
        term *= b  # the prefactor for the b that is left
    value, error = stieltjes(a, b, m / phi)
    return total + term * value / (a * p), error + 8.0 * steps + 16.0


@kernel
def evaluate(k, m, phi, v, w):  # type: ignore[no-untyped-def]
    """``F(k) - v`` with an absolute error, P(k) with a relative one, and the tail used: (d, e, pmf, r, tail)."""
    a = k + 1.0
    front, error = prefactor(a, m, phi)
    total = phi + m
    pmf = front / ((phi + k) * (m / total))
    slack = phi * (m - a) / total
    if slack >= -0.5:
        value, cut = convergents(phi, a, phi / total, slack, a, 0.0)
        tail = front * value
        d, split_at = tail - v, v
    elif phi > CHAIN_PHI:
        value, cut = convergents(a, phi, m / total, -slack, phi, 0.0)
        tail = front * value
        d, split_at = w - tail, w
    else:
        tail, cut = upper_chain(a, m, phi, front)
        d, split_at = w - tail, w
    error += 4.0
    off = (tail * (error + cut) + split_at * SPLIT_ERROR + abs(d)) * U + 1e-299
    return d, off, pmf, (error + 4.0) * U, tail
