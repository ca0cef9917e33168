"""Make ``stream-1.txt``: addresses, parameters and counts of stream version 1, decided with mpmath.

Run once: ``python -m tests.golden.make``. The file is a contract; a change of it is a new version of the stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import mpmath

from tests.reference import quantile, uniform

PATH = Path(__file__).with_name("stream-1.txt")
NCELLS = 2**17  # the test keeps a size factor for each cell; samples and features cost it nothing
SEEDS = (0, 1, 20260101, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1)
HEADER = "# stream version 1; made by tests/golden/make.py\n# seed s n t m phi count (m, phi: float.hex of float64)\n"

Element = tuple[int, int, int, int, float, float]


def exact_cdf(k: int, m: float, phi: float) -> mpmath.mpf:
    """F(k) to some 50 digits: its terms summed from k down, until what is left can't matter."""
    if k < 0:
        return mpmath.mpf(0)
    mean, total, y = mpmath.mpf(m), mpmath.mpf(phi), mpmath.mpf(k)
    if math.isinf(phi):
        term = mpmath.exp(y * mpmath.log(mean) - mean - mpmath.loggamma(y + 1))
    else:
        logs = total * mpmath.log(total / (total + mean)) + y * mpmath.log(mean / (total + mean))
        term = mpmath.exp(mpmath.loggamma(y + total) - mpmath.loggamma(total) - mpmath.loggamma(y + 1) + logs)
    value, ratio = term, (mean + total) / mean
    for i in range(k, 0, -1):
        term *= i / mean if math.isinf(phi) else i * ratio / (total + i - 1)
        value += term
        if i < m / 2 and term * i < value * mpmath.mpf(10) ** -50:
            break
    return value


def decided(m: float, phi: float, u: float) -> int:
    """The quantile: SciPy's guess, confirmed or moved by mpmath."""
    if m == 0:
        return 0
    k = quantile(m, phi, u)
    while exact_cdf(k, m, phi) < u:
        k += 1
    while exact_cdf(k - 1, m, phi) >= u:
        k -= 1
    return k


def elements() -> Iterator[Element]:
    """Every kind of element: ordinary ones, the domain's edges, large means, and u far in a tail."""
    draw = random.Random(20260101)

    def address() -> tuple[int, int, int, int]:
        top = draw.choice((10, 2**17, 2**32))
        return draw.choice(SEEDS), draw.randrange(top), draw.randrange(min(top, NCELLS)), draw.randrange(top)

    def total() -> float:
        return math.inf if draw.random() < 0.1 else 10 ** draw.uniform(-3, 12)

    for _ in range(130):
        yield *address(), 10 ** draw.uniform(-3, 3), total()
    for _ in range(30):
        yield *address(), 10 ** draw.uniform(3, 6), draw.choice((math.inf, 10 ** draw.uniform(0, 12)))
    for m, phi in ((0.0, 1.0), (0.0, math.inf), (1e7, math.inf), (1e7, 1e12), (5.0, 1e-6), (1e-3, 1e-6), (1e-9, 3.0)):
        yield *address(), m, phi
    found = 0
    while found < 33:
        at = address()
        u = uniform(*at)
        if min(u, 1 - u) < 2e-4:
            found += 1
            yield *at, 10 ** draw.uniform(-2, 4), total()


def main() -> None:
    """Write the file."""
    mpmath.mp.dps = 60
    with PATH.open("w") as file:
        file.write(HEADER)
        for seed, s, n, t, m, phi in elements():
            count = decided(m, phi, uniform(seed, s, n, t))
            file.write(f"{seed} {s} {n} {t} {m.hex()} {phi.hex()} {count}\n")


if __name__ == "__main__":
    main()
