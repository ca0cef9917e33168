"""Tier 3: counts that float64 can't decide, settled in arbitrary precision.

u lies so close to a step of the CDF that the error bounds of the kernels' float64 cover both answers: about one count
in 10**11. The same prefactor and continued fractions are evaluated with more and more bits until F(k) - u has a sign.
Where F(k) is rational it can equal u (phi = 1, m = 1, u = 1 - 2**-53): that is decided in integers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import count
from typing import Any

FIRST_BITS = 128
LAST_BITS = 2**15
GUARD_BITS = 96  # the prefactor's exponent reaches 1e11, of which the fraction has to keep `bits`
RATIONAL_BITS = 2**20  # size up to which a rational F(k) is computed as such


def settle(m: float, phi: float, u: float, near: int, zero_inflation: float = 0.0) -> int:
    """Return ``min {k >= 0 : pi + (1 - pi) F(k; m, phi) >= u}`` of these very float64 numbers.

    Parameters
    ----------
    m, phi
        Mean in (0, 1e7] and total count in [1e-6, 1e12] or inf.
    u
        An odd multiple of 2**-53.
    near
        A count near the answer; the search goes on from there one by one.
    zero_inflation
        pi in [0, 1].
    """
    k = near
    if reaches(k, m, phi, u, zero_inflation):
        while k > 0 and reaches(k - 1, m, phi, u, zero_inflation):
            k -= 1
        return k
    while not reaches(k, m, phi, u, zero_inflation):
        k += 1
    return k


def reaches(k: int, m: float, phi: float, u: float, zero_inflation: float = 0.0) -> bool:
    """Whether ``pi + (1 - pi) F(k; m, phi) >= u``."""
    import mpmath

    if u <= zero_inflation:
        return True
    bits = FIRST_BITS
    while bits <= LAST_BITS:
        with mpmath.workprec(bits + GUARD_BITS):
            difference, error = _difference(mpmath, k, m, phi, u, zero_inflation, bits)
            if abs(difference) > error:
                return bool(difference > 0)
        if bits == FIRST_BITS:
            rational = _rational_cdf(k, m, phi)
            if rational is not None:
                inflation = Fraction(zero_inflation)
                return inflation + (1 - inflation) * rational >= Fraction(u)
        bits *= 4
    return True  # equal to 32,768 bits


def _difference(mp: Any, k: int, m: float, phi: float, u: float, pi: float, bits: int) -> tuple[Any, Any]:
    """``F(k) - (u - pi)/(1 - pi)`` and a bound of its error."""
    mean, total, a = mp.mpf(m), mp.mpf(phi), mp.mpf(k + 1)
    if math.isinf(phi):
        slack = mean - a
        front = mp.exp(a * mp.log(mean) - mean - mp.loggamma(a))
    else:
        slack = total * (mean - a) / (total + mean)
        logs = a * mp.log(mean / (total + mean)) + total * mp.log(total / (total + mean))
        front = mp.exp(logs + mp.loggamma(a + total) - mp.loggamma(a) - mp.loggamma(total))
    tolerance = mp.ldexp(1, -bits)
    if slack >= -0.5:
        value, gap = _lower(mp, a, mean, total, slack, tolerance)
        tail = front * value
        difference = tail - (mp.mpf(u) - pi) / (1 - mp.mpf(pi))
    else:
        value, gap = _upper(mp, a, mean, total, -slack, tolerance)
        tail = front * value
        difference = (1 - mp.mpf(u)) / (1 - mp.mpf(pi)) - tail
    # What rounding adds is far below the guard bits: 2**-80 leaves room for 2**16 operations.
    return difference, tail * (gap + 2 * tolerance)


def _lower(mp: Any, a: Any, m: Any, phi: Any, slack: Any, tolerance: Any) -> tuple[Any, Any]:
    """``F(k)`` over its prefactor; the fraction ends by itself after k + 1 elements."""
    if mp.isinf(phi):
        return _bracket(mp, slack + 1, _poisson_lower(a, slack), int(a), tolerance)
    return _bracket(mp, phi / (phi + 1) * (slack + 1), _elements(phi, a, phi / (phi + m), slack), int(a), tolerance)


def _upper(mp: Any, a: Any, m: Any, phi: Any, slack: Any, tolerance: Any) -> tuple[Any, Any]:
    """``1 - F(k)`` over its prefactor."""
    if mp.isinf(phi):
        first = a / (a + 1) * (slack + 1)
        return _bracket(mp, first, _poisson_upper(a, m, slack), None, tolerance)
    last = int(min(phi, 1e9))
    first = a / (a + 1) * (slack + 1)
    value, gap = _bracket(mp, first, _elements(a, phi, m / (phi + m), slack), last, tolerance)
    if gap <= tolerance:
        return value, gap
    return _chain(mp, a, m, phi, tolerance)


def _elements(a: Any, b: Any, x: Any, slack: Any) -> Any:
    """Elements (alpha, beta) of DiDonato and Morris' fraction of ``I_x(a, b)``; see the kernel's `convergents`."""
    for n in count(1):
        c = a + 2 * n - 1
        alpha = (a + n - 1) * (a + b + n - 1) * n * (b - n) * x * x / (c * c)
        yield alpha, n + n * (b - n) * x / c + (a + n) / (c + 2) * (slack + 1 + n * (2 - x))


def _poisson_lower(a: Any, slack: Any) -> Any:
    """The limit of the lower tail's elements for phi to infinity (Legendre's fraction)."""
    for n in count(1):
        yield n * (a - n), 2 * n + 1 + slack


def _poisson_upper(a: Any, m: Any, slack: Any) -> Any:
    """The limit of the upper tail's elements: b x tends to m, x to 0."""
    for n in count(1):
        c = a + 2 * n - 1
        yield (a + n - 1) * n * m * m / (c * c), n + n * m / c + (a + n) / (c + 2) * (slack + 1 + 2 * n)


def _bracket(mp: Any, first: Any, elements: Any, last: int | None, tolerance: Any) -> tuple[Any, Any]:
    """Convergents of ``1/(first + alpha/(beta + ...))`` until two of them agree: (value, relative gap)."""
    above, below, above_1, below_1 = mp.mpf(1), first, mp.mpf(0), mp.mpf(1)
    value, gap = above / below, mp.mpf(1)
    for n, (alpha, beta) in enumerate(elements, start=1):
        if alpha == 0:
            return above / below, mp.mpf(0)
        if last is not None and n >= last:
            break
        above, above_1 = beta * above + alpha * above_1, above
        below, below_1 = beta * below + alpha * below_1, below
        if n % 8 == 0:  # a division costs as much as the rest of a step
            value = above / below
            gap = abs(value - above_1 / below_1) / value
            if gap <= tolerance:
                return value, gap
    value = above / below
    return value, abs(value - above_1 / below_1) / value if below_1 and above_1 else mp.mpf(1)


def _chain(mp: Any, a: Any, m: Any, phi: Any, tolerance: Any) -> tuple[Any, Any]:
    """``I_q(a, phi)`` over its prefactor by a finite sum down to 0 < b <= 1; see the kernel's `upper_chain`."""
    steps = int(mp.ceil(phi)) - 1
    b, p, w = phi - steps, phi / (phi + m), m / phi
    total, term = mp.mpf(0), mp.mpf(1)
    if steps:
        term = total = 1 / (p * (a + phi - 1))
        for i in range(steps - 1, 0, -1):
            term *= (b + i) / (p * (a + b + i - 1))
            total += term
        term *= b
    value, gap = _stieltjes(mp, a, b, w, tolerance)
    return total + term * value / (a * p), gap


def _stieltjes(mp: Any, a: Any, b: Any, w: Any, tolerance: Any) -> tuple[Any, Any]:
    """``2F1(1 - b, 1; a + 1; -w)`` by Gauss' fraction, 0 < b <= 1."""
    above, above_1 = mp.mpf(1), mp.mpf(1)
    below, below_1 = 1 + (1 - b) / (a + 1) * w, mp.mpf(1)
    for j in count(1):
        even = j * (a + b + j - 1) / ((a + 2 * j - 1) * (a + 2 * j)) * w
        above, above_1 = above + even * above_1, above
        below, below_1 = below + even * below_1, below
        odd = (1 - b + j) * (a + j) / ((a + 2 * j) * (a + 2 * j + 1)) * w
        above, above_1 = above + odd * above_1, above
        below, below_1 = below + odd * below_1, below
        if j % 8 == 0:
            value = above / below
            gap = abs(value - above_1 / below_1) / value
            if gap <= tolerance:
                return value, gap
    raise AssertionError("unreachable: itertools.count does not end")


def _rational_cdf(k: int, m: float, phi: float) -> Fraction | None:
    """``F(k)`` where it is rational and of a manageable size, else None.

    With phi = A / 2**B, A odd, p**phi is rational only if p is a 2**B-th power of a rational number; for B > 5 no
    p in the domain (above 1e-13, below 1) is one.
    """
    if math.isinf(phi):
        return None  # exp(-m) is transcendental
    numerator, denominator = phi.as_integer_ratio()
    p = Fraction(phi) / (Fraction(phi) + Fraction(m))
    roots = denominator.bit_length() - 1
    if roots > 5 or (numerator + k) * p.denominator.bit_length() > RATIONAL_BITS:
        return None
    top, bottom = p.numerator, p.denominator
    for _ in range(roots):
        top, bottom = _root(top), _root(bottom)
        if not top or not bottom:
            return None
    term = Fraction(top, bottom) ** numerator
    total = term
    for i in range(k):
        term *= (Fraction(phi) + i) / (i + 1) * (1 - p)
        total += term
    return total


def _root(square: int) -> int:
    """The integer square root of a square, 0 of any other number."""
    root = math.isqrt(square)
    return root if root * root == square else 0
