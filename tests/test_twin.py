"""The twin computes what the definition says: against known answers, mpmath, plain integers and the kernels."""

from __future__ import annotations

from collections.abc import Iterator

import mpmath
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamsample.exact import settle
from tests import reference
from tests.compiled import _twin
from tests.golden import make_grid
from tests.kernels.referee import Elements, cdf, random_elements
from tests.kernels.test_philox import KNOWN

CERTAIN, UNDECIDED, OVERFLOW, OUTSIDE = 0, 1, 2, 3
Answers = tuple[NDArray[np.int64], NDArray[np.uint8]]


def quantiles(elements: Elements) -> Answers:
    counts, status = np.empty(elements.m.size, np.int64), np.empty(elements.m.size, np.uint8)
    _twin.quantiles(elements.m, elements.phi, elements.u, counts, status)
    return counts, status


def quantile(m: float, phi: float, u: float) -> tuple[int, int]:
    counts, status = np.empty(1, np.int64), np.empty(1, np.uint8)
    _twin.quantiles(np.array([m]), np.array([phi]), np.array([u]), counts, status)
    return int(counts[0]), int(status[0])


@pytest.fixture(params=[False, True], ids=["gradual", "flush-to-zero"])
def flushing(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param and not torch.set_flush_denormal(True):
        pytest.skip("this processor can't flush subnormal numbers to zero")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], answer: tuple[int, int, int, int]
) -> None:
    assert _twin.words(counter, key) == answer


def test_u_of_an_address() -> None:
    rng = np.random.default_rng(1)
    for seed in (0, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1):
        for s, n, t in rng.integers(0, 2**32, (20, 3)).tolist():
            assert _twin.uniform(seed, s, n, t) == reference.uniform(seed, s, n, t)


def points() -> list[tuple[int, float, float]]:
    """(k, m, phi) where the terms of F are few enough to be added up, and some that take quadrature."""
    rng = np.random.default_rng(4)
    low = [(10 ** rng.uniform(-9, 3), 10 ** rng.uniform(-6, 12), 10 ** rng.uniform(-15, -0.01)) for _ in range(150)]
    high = [(10 ** rng.uniform(4, 7), 10 ** rng.uniform(0, 12), 10 ** rng.uniform(-15, -0.01)) for _ in range(12)]
    found = []
    for i, (m, phi, v) in enumerate(low + high):
        phi = float("inf") if i % 7 == 0 else phi
        found.append((quantile(m, phi, 1 - v if i % 2 else v)[0], m, phi))
    return [point for point in found if point[0] < make_grid.FEW or point[1] > 1e4]


def test_tails_are_within_a_fifth_of_their_bound() -> None:
    worst, checked = 0.0, points()
    with mpmath.workdps(60):
        for k, m, phi in checked:
            below, above, error = _twin.tails(float(k), m, phi)
            true = make_grid.cdf(k, m, phi)
            assert 0 < error < 1e-9 * min(below, above)
            # The larger tail also carries its own rounding, for which the search allows.
            gap = abs(mpmath.mpf(below) - true) if below < above else abs(mpmath.mpf(above) - (1 - true))
            worst = max(worst, float(gap / error))
    assert len(checked) > 120
    assert worst < 0.2


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize(("tail", "size"), [("none", 100_000), ("low", 20_000), ("high", 20_000)])
def test_twin_and_kernel_agree(tail: str, size: int) -> None:
    elements = random_elements(size, seed=8, tail=tail)
    assert_agree(elements, *quantiles(elements))


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize(
    ("means", "phis"),
    [((-12, 7), (-6, 12)), ((5, 7), (-1, 12)), ((0, 7), (-6, 0)), ((-3, 7), (40, 41)), ((-300, -10), (-6, 12))],
    ids=["whole domain", "large means", "heavy tails", "Poisson", "next to no mean"],
)
def test_twin_and_kernel_agree_in_corners(means: tuple[int, int], phis: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    phi = 10.0 ** rng.uniform(*phis, 10_000)
    phi[phi > 1e13] = np.inf
    elements = Elements(10.0 ** rng.uniform(*means, phi.size), phi, rng.integers(0, 2**52, phi.size))
    assert_agree(elements, *quantiles(elements))


def test_twin_and_kernel_agree_where_steps_are_small() -> None:
    """Tiny phi and u near 1: a phi + n - 1 that is rounded before 1 is taken off is wrong by 1e-10 for n = 1."""
    rng = np.random.default_rng(10)
    j = 2**52 - 1 - np.floor(10.0 ** rng.uniform(-9, -3, 10_000) * 2.0**52).astype(np.int64)
    elements = Elements(10.0 ** rng.uniform(-2, 3, j.size), 10.0 ** rng.uniform(-6, -2, j.size), j)
    assert_agree(elements, *quantiles(elements))


def assert_agree(elements: Elements, counts: NDArray[np.int64], status: NDArray[np.uint8]) -> None:
    kernel, its_status = elements.quantiles()
    both = (status == CERTAIN) & (its_status == CERTAIN)
    np.testing.assert_array_equal(counts[both], kernel[both])
    np.testing.assert_array_equal(
        (status == OVERFLOW)[its_status != UNDECIDED], (its_status == OVERFLOW)[its_status != UNDECIDED]
    )
    assert (status == UNDECIDED).mean() <= 1e-4
    for i in np.flatnonzero((status == UNDECIDED) & (its_status == CERTAIN)):
        assert settle(float(elements.m[i]), float(elements.phi[i]), float(elements.u[i]), int(counts[i])) == kernel[i]


@pytest.mark.parametrize("m", [0.01, 0.75, 20.0, 500.0, 1e4, 1e6])
@pytest.mark.parametrize("phi", [0.05, 1.0, 3.7, 30.0, 1e4, np.inf])
def test_u_at_a_step_is_left_to_tier_3_or_right(m: float, phi: float) -> None:
    for start in (0.01, 0.3, 0.77, 0.99):
        k, _ = quantile(m, phi, (np.floor(start * 2.0**52) + 0.5) * 2.0**-52)
        step = float(cdf(np.array([float(k)]), np.array([m]), np.array([phi]))[0][0])
        for shift in range(-3, 4):
            u = (np.floor(step * 2.0**52) + 0.5 + shift) * 2.0**-52
            if 0 < u < 1:
                y, status = quantile(m, phi, u)
                exact = settle(m, phi, u, y)
                assert exact == y if status == CERTAIN else abs(exact - y) <= 1


def test_steps_are_undecided() -> None:
    """Otherwise the test above could not fail for a bound that is too tight."""
    for m in (0.75, 20.0, 500.0):
        step = float(cdf(np.array([np.floor(m)]), np.array([m]), np.array([1.5]))[0][0])
        assert quantile(m, 1.5, (np.floor(step * 2.0**52) + 0.5) * 2.0**-52)[1] == UNDECIDED


def test_ends_of_the_domain() -> None:
    assert quantile(0.0, 2.0, 1 - 2.0**-53) == (0, CERTAIN)
    assert quantile(1e7, 1e-6, 1 - 2.0**-53)[1] == OVERFLOW
    assert quantile(1e7, float("inf"), 2.0**-53)[0] == settle(1e7, float("inf"), 2.0**-53, 9_974_000)


@pytest.mark.parametrize(
    ("m", "phi", "status"),
    [
        (np.nan, 1.0, OUTSIDE),
        (1.0, np.nan, UNDECIDED),
        (np.inf, 1.0, OUTSIDE),
        (np.nextafter(1e7, np.inf), 1.0, OUTSIDE),
    ],
)
def test_what_is_outside_the_domain_is_not_certain_and_does_not_run_for_ever(m: float, phi: float, status: int) -> None:
    assert quantile(m, phi, 0.5 + 2.0**-53)[1] == status
