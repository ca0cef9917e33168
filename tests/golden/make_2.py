"""Make ``stream-2.txt``: addresses, parameters and counts of stream version 2, decided with mpmath.

Run once: ``python -m tests.golden.make_2``. The file is a contract; a change of it is a new version of the stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np

from tests.golden.make import NCELLS, SEEDS, exact_cdf
from tests.reference import quantile, uniform
from tests.reference_2 import mean

PATH = Path(__file__).with_name("stream-2.txt")
K = 3
HEADER = (
    "# stream version 2; made by tests/golden/make_2.py\n"
    "# seed s n t mu alpha size_factor phi zero_inflation x_0 x_1 x_2 beta_0 beta_1 beta_2 count (reals: float.hex)\n"
)


class Element(NamedTuple):
    """What one count follows from."""

    address: tuple[int, int, int, int]
    """Seed, sample, cell, feature."""
    mu: float
    alpha: float
    size_factor: float
    phi: float
    pi: float
    x: tuple[float, ...]
    beta: tuple[float, ...]

    def m(self) -> float:
        """Mean, by the reference."""
        arrays = {"mu": np.full((1, 1), self.mu), "alpha": np.full((1, 1, 1), self.alpha), "group": [0]}
        arrays |= {"size_factor": [self.size_factor], "design": np.array([self.x])}
        return mean(arrays | {"beta": np.array(self.beta).reshape(1, K, 1)}, 0, 0, 0)


def decided(m: float, phi: float, pi: float, u: float) -> int:
    """The quantile: SciPy's guess, confirmed or moved by mpmath."""
    if m == 0 or u <= pi:
        return 0

    def reached(k: int) -> bool:
        return bool(pi + (1 - mpmath.mpf(pi)) * exact_cdf(k, m, phi) >= u)

    k = quantile(m, phi, min((u - pi) / (1 - pi), 1 - 2.0**-53))
    while not reached(k):
        k += 1
    while k > 0 and reached(k - 1):
        k -= 1
    return k


def elements() -> Iterator[Element]:
    """Ordinary ones, no inflation and next to nothing else, u at the edge of pi, predictors far below and far above."""
    draw = random.Random(20260202)

    def element(scale: float = 1.0, shift: float = 0.0, pi: float | None = None) -> Element:
        top = draw.choice((10, 2**17, 2**32))
        address = draw.choice(SEEDS), draw.randrange(top), draw.randrange(min(top, NCELLS)), draw.randrange(top)
        total = math.inf if draw.random() < 0.15 else 10 ** draw.uniform(-1, 6)
        x = (1.0, *(draw.choice((0.0, draw.gauss(0, 1))) for _ in range(K - 1)))
        beta = (draw.gauss(shift, scale), *(draw.gauss(0, scale) for _ in range(K - 1)))
        mu, alpha, factor = 10 ** draw.uniform(-1, 3), 10 ** draw.uniform(-0.5, 0.5), 10 ** draw.uniform(-0.5, 0.5)
        inflation = draw.choice((0.0, draw.random(), draw.random() ** 8)) if pi is None else pi
        return Element(address, mu, alpha, factor, total, inflation, x, beta)

    for _ in range(90):
        yield element()
    for shift in (-800.0, -690.5, -600.0, -40.0, 4.0):
        yield element(0.0, shift)._replace(mu=1.0)
    yield element(1e-3, -650.0)._replace(mu=1e283)  # a mean of some ordinary size by way of a tiny E
    for pi in (5e-324, 1e-300, 2.0**-53, 1 - 2.0**-53, 1.0):
        yield element(pi=pi)
    for _ in range(20):
        found = element(0.2)._replace(mu=10 ** draw.uniform(3, 4), phi=10 ** draw.uniform(1, 12))
        u = uniform(*found.address)
        yield found._replace(pi=draw.choice((u, np.nextafter(u, 0.0).item(), u * (1 - 1e-9))))


def main() -> None:
    """Write the file."""
    mpmath.mp.dps = 60
    with PATH.open("w") as file:
        file.write(HEADER)
        for e in elements():
            count = decided(e.m(), e.phi, e.pi, uniform(*e.address))
            values = " ".join(value.hex() for value in (e.mu, e.alpha, e.size_factor, e.phi, e.pi, *e.x, *e.beta))
            file.write(f"{' '.join(map(str, e.address))} {values} {count}\n")


if __name__ == "__main__":
    main()
