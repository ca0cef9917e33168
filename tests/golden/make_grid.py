"""Make ``grid-1.txt``: quantiles at the corners of the domain, each proven by ``F(y - 1) < u <= F(y)``.

Run once: ``python -m tests.golden.make_grid``; takes two or three minutes and nothing of the package. F comes from
mpmath: its terms are added up where they are few, else the beta or gamma integral is computed by quadrature. F(y) and
F(y - 1) must differ by P(y), and must be farther from u than a million times what they disagree by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath as mp

from tests.reference import quantile

PATH = Path(__file__).with_name("grid-1.txt")
PHIS = (1e-6, 1e-3, 0.1, 0.5, 1.0, 2.5, 10.0, 64.0, 65.0, 1e3, 1e6, 1e9, 1e12, math.inf)
MEANS = (0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0, 1e4, 1e6, 1e7)
CHANCES = [Fraction(text) for text in ("1e-12", "1e-6", "0.01", "0.5", "0.99", "0.999999", "0.999999999999")]
POINTS = [0, *(math.floor(chance * 2**52) for chance in CHANCES), 2**52 - 1]  # u = (j + 1/2) / 2**52
COUNT_MAX = 2**32 - 1
FEW = 2000  # terms that are added up
DIGITS = 35  # of F; mpmath works with 60, of which loggamma near 1e13 takes some
HEADER = "# made by tests/golden/make_grid.py\n# m phi u count, or overflow (float.hex of float64)\n"


def chance_of(k: int, m: Any, phi: Any) -> Any:
    """P(k)."""
    if mp.isinf(phi):
        return mp.exp(k * mp.log(m) - m - mp.loggamma(k + 1))
    logs = phi * mp.log(phi / (phi + m)) + k * mp.log(m / (phi + m))
    return mp.exp(logs + mp.loggamma(k + phi) - mp.loggamma(phi) - mp.loggamma(k + 1))


def summed(k: int, m: Any, phi: Any) -> Any:
    """F(k), term by term."""
    term = total = chance_of(0, m, phi)
    for i in range(k):
        term *= (m if mp.isinf(phi) else (phi + i) * m / (phi + m)) / (i + 1)
        total += term
    return total


def integrated(k: int, m: Any, phi: Any) -> Any:
    """F(k) as a beta or, for the Poisson, a gamma integral, taken over the side on which the density falls."""
    a = mp.mpf(k + 1)
    if mp.isinf(phi):
        front = chance_of(k, m, phi) * m  # m**a exp(-m) / k!
        if a < m:
            return front * falling(lambda w: a * w - m * mp.expm1(w))
        return 1 - front * falling(lambda w: -a * w - m * mp.expm1(-w))
    front = chance_of(k, m, phi) * (phi + k)  # p**phi q**k / B(phi, a)
    if a < m:  # t = p exp(-w); (1 - t) / q = 1 + phi / m (1 - exp(-w))
        return front * falling(lambda w: -phi * w + k * mp.log1p(-phi / m * mp.expm1(-w)))
    front *= m / phi  # q**a p**(phi - 1) / B(phi, a)
    return 1 - front * falling(lambda w: -a * w + (phi - 1) * mp.log1p(-m / phi * mp.expm1(-w)))


def falling(exponent: Callable[[Any], Any]) -> Any:
    """Integrate exp(exponent) over [0, inf) in pieces over which the exponent falls by 1 to 2."""
    start, width, total = mp.mpf(0), mp.mpf(1), mp.mpf(0)
    while True:
        while exponent(start) - exponent(start + width) > 2:
            width /= 2
        piece = mp.quad(lambda w: mp.exp(exponent(w)), [start, start + width], method="gauss-legendre")
        total += piece
        if piece < total * mp.mpf(10) ** -DIGITS:
            return total
        start += width
        if exponent(start) - exponent(start + 2 * width) < 2:
            width *= 2


def cdf(k: int, m: float, phi: float) -> Any:
    """F(k)."""
    if k < 0:
        return mp.mpf(0)
    return (summed if k <= FEW else integrated)(k, mp.mpf(m), mp.mpf(phi))


def rational(k: int, m: float, phi: float) -> Fraction:
    """F(k) where phi is an integer, as the fraction that it is."""
    p, total = Fraction(phi) / (Fraction(phi) + Fraction(m)), Fraction(0)
    for i in range(k + 1):
        total += math.comb(i + int(phi) - 1, i) * p ** int(phi) * (1 - p) ** i
    return total


def excess(k: int, m: float, phi: float, u: float) -> Any:
    """F(k) - u; exactly 0 where they are equal."""
    found = cdf(k, m, phi) - mp.mpf(u)
    if abs(found) > mp.mpf(10) ** (5 - DIGITS):
        return found
    if not float(phi).is_integer():  # inf is none either
        raise ArithmeticError(f"F({k}; {m}, {phi}) is too near {u}")
    exact = rational(k, m, phi) - Fraction(u)
    return mp.mpf(exact.numerator) / exact.denominator


def decided(m: float, phi: float, u: float) -> int | None:
    """The quantile, None above the largest count: SciPy's, moved until the proof holds."""
    if m == 0:
        return 0
    k = min(quantile(m, phi, u), COUNT_MAX)
    while True:
        at, step = excess(k, m, phi, u), chance_of(k, mp.mpf(m), mp.mpf(phi))
        if at < 0 and k == COUNT_MAX:
            return None
        if at < 0:
            k = min(k + int(mp.ceil(-at / step)), COUNT_MAX)
        elif at - step >= 0:
            k = max(k - max(int((at - step) / step), 1), 0)
        else:
            break
    before = excess(k - 1, m, phi, u)
    if not before < 0 <= at or abs(at - before - step) * 10**6 > min(step, abs(before), abs(at) or step):
        raise ArithmeticError(f"F({k}) and its neighbour disagree with P({k}) at m = {m}, phi = {phi}")
    return k


def main() -> None:
    """Write the file."""
    mp.mp.dps = 60
    with PATH.open("w") as file:
        file.write(HEADER)
        for phi in PHIS:
            for m in MEANS:
                for j in POINTS:
                    u = (j + 0.5) * 2.0**-52
                    count = decided(m, phi, u)
                    file.write(f"{m.hex()} {phi.hex()} {u.hex()} {'overflow' if count is None else count}\n")


if __name__ == "__main__":
    main()
