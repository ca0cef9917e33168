"""The slowest single count that each of the scalar tiers can be given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from streamsample.exact import settle
from streamsample.kernels.jit import OPTIONS
from streamsample.kernels.negbin import OVERFLOW, quantile

Floats = NDArray[np.float64]
RUN = 32  # elements timed together first: one alone is shorter than the clock is exact
MEANS = (1e-6, 1.0, 1e3, 1e5, 1e6, 1e7)
PHIS = (1e-6, 1e-3, 0.5, 1.0, 10.0, 64.5, 1000.3, 1e5, 1e6, 1e7, 1e9, 1e12, math.inf)
CHANCES = (0.0, 1e-9, 0.01, 0.5, 0.99, 1 - 1e-9, 1 - 2.0**-52)


class Slowest(NamedTuple):
    """An element, and how long it takes."""

    seconds: float
    m: float
    phi: float
    u: float


@numba.njit(**OPTIONS)
def fill_quantiles(m, phi, u, out):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Tier 2, element by element; out: (L,) int64."""
    for i in range(m.size):
        out[i] = quantile(m[i], phi[i], u[i], 1.0 - u[i])[0]


def lattice(chance: float) -> float:
    """The u nearest to a probability in [0, 1)."""
    return (math.floor(chance * 2.0**52) + 0.5) * 2.0**-52


def seconds(run: Callable[[], object], rounds: int = 5) -> float:
    """Least time that something takes: what comes on top is the machine's other work."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def anywhere(size: int) -> tuple[Floats, Floats, Floats]:
    """m, phi and u over the whole domain; two thirds of the u in the tails."""
    rng = np.random.default_rng(0)
    tail = np.floor(10.0 ** rng.uniform(-15.6, -3, size) * 2.0**52)
    which = np.arange(size) % 3
    j = np.select([which == 0, which == 1], [tail, 2.0**52 - 1 - tail], np.floor(rng.random(size) * 2.0**52))
    return 10.0 ** rng.uniform(-3, 7, size), 10.0 ** rng.uniform(-6, 12, size), (j + 0.5) * 2.0**-52


def slowest_of_tier_2(size: int) -> Slowest:
    """Time elements in runs, and those of the slowest runs one by one."""
    m, phi, u = anywhere(size)
    out = np.empty(size, np.int64)
    fill_quantiles(m[:1], phi[:1], u[:1], out)

    def time_of(first: int, count: int) -> float:
        part = slice(first, first + count)
        return seconds(lambda: fill_quantiles(m[part], phi[part], u[part], out[part]), 3)

    runs = np.array([time_of(first, RUN) for first in range(0, size, RUN)])
    candidates = [RUN * int(run) + i for run in np.argsort(runs)[-100:] for i in range(RUN)]
    return max(Slowest(time_of(i, 1), m[i], phi[i], u[i]) for i in candidates if i < size)


def corners() -> Iterator[tuple[float, float, float, int]]:
    """m, phi and u at the corners of the domain and between, and tier 2's count."""
    for m in MEANS:
        for phi in PHIS:
            for u in map(lattice, CHANCES):
                y, status = quantile(m, phi, u, 1.0 - u)
                if status != OVERFLOW:
                    yield m, phi, u, int(y)


def slowest_of_tier_3(every: int) -> Slowest:
    """Time tier 3 where it is asked for a count that tier 2 knows."""
    chosen = list(corners())[::every]
    return max(Slowest(seconds(lambda e=e: settle(*e), 2), *e[:3]) for e in chosen)  # type: ignore[misc]  # e=e


@pytest.mark.benchmark(group="elements")
@pytest.mark.parametrize("tier", [2, 3])
def test_slowest(tier: int, small: bool, benchmark: BenchmarkFixture) -> None:
    """No more than 100 microseconds in tier 2, and no more than a second in tier 3, are allowed."""
    if tier == 2:
        found = slowest_of_tier_2(1_000 if small else 300_000)
        limit, one = 1e-4, [np.array([value]) for value in found[1:]]
        benchmark.pedantic(fill_quantiles, (*one, np.empty(1, np.int64)), rounds=5)
    else:
        found, limit = slowest_of_tier_3(40 if small else 1), 1.0
        m, phi, u = found[1:]
        benchmark.pedantic(settle, (m, phi, u, int(quantile(m, phi, u, 1.0 - u)[0])), rounds=5)
    benchmark.extra_info.update(tier=tier, limit=limit, **found._asdict())
