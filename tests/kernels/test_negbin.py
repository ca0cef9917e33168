"""Tier 2 over the whole domain: what it calls certain is right, and it leaves next to nothing."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from streamsample.exact import settle
from streamsample.kernels.negbin import CERTAIN, COUNT_MAX, OVERFLOW, UNDECIDED
from tests.golden import make_grid
from tests.kernels.referee import Elements, cdf, quantile, random_elements, unsettled, wrong


@pytest.fixture(params=[False, True], ids=["gradual", "flush-to-zero"])
def flushing(request):
    """Everything once more with subnormal numbers flushed to zero, as torch can ask the processor to do."""
    if request.param and not torch.set_flush_denormal(True):
        pytest.skip("this processor can't flush subnormal numbers to zero")
    yield request.param
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize(("tail", "size"), [("none", 200_000), ("low", 20_000), ("high", 20_000)])
def test_every_certain_count_is_the_quantile(tail, size):
    elements = random_elements(size, seed=20, tail=tail)
    y, status = elements.quantiles()
    assert wrong(elements, y, status) == []
    # In the far tails steps are as small as the bounds; anywhere else hardly one in a million is left.
    assert unsettled(status) <= (1e-5 if tail == "none" else 1e-2)


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize(
    ("means", "phis"),
    [((-12, 7), (-6, 12)), ((5, 7), (-1, 12)), ((0, 7), (-6, 0)), ((-3, 7), (40, 41))],
    ids=["whole domain", "large means", "heavy tails", "Poisson"],
)
def test_corners_of_the_domain(means, phis):
    rng = np.random.default_rng(7)
    phi = 10.0 ** rng.uniform(*phis, 20_000)
    phi[phi > 1e13] = np.inf
    elements = Elements(10.0 ** rng.uniform(*means, phi.size), phi, rng.integers(0, 2**52, phi.size))
    y, status = elements.quantiles()
    assert wrong(elements, y, status) == []
    assert unsettled(status) <= 5e-4


@pytest.mark.parametrize("m", [1e3, 2e6, 7e6])
def test_the_referee_is_right_far_out_in_poisson_tails(m):
    k = np.floor(m + np.array([-7.0, -4.6, 0.3, 4.6, 7.0]) * np.sqrt(m))
    low, high = cdf(k, np.full(k.size, m), np.full(k.size, np.inf))
    with mpmath.workdps(40):
        for i, count in enumerate(k):
            true = make_grid.cdf(int(count), m, np.inf)
            assert float(abs(low[i] - true) / true) < 1e-7
            assert float(abs(high[i] - (1 - true)) / (1 - true)) < 1e-7


def test_an_overflow_is_called_one():
    elements = Elements(np.array([1e7]), np.array([1e-6]), np.array([2**52 - 2**20]))
    _, status = elements.quantiles()
    assert status[0] == OVERFLOW
    assert cdf(np.array([float(COUNT_MAX)]), elements.m, elements.phi)[0][0] < elements.u[0]


def test_a_mean_of_zero_is_zero():
    assert quantile(0.0, 2.0, 1 - 2.0**-53) == (0, CERTAIN)


def lattice(value: float) -> float:
    """The u nearest to a probability."""
    return (np.floor(value * 2.0**52) + 0.5) * 2.0**-52


@pytest.mark.parametrize("m", [0.01, 0.75, 20.0, 500.0, 1e4, 1e6])
@pytest.mark.parametrize("phi", [0.05, 1.0, 3.7, 30.0, 1e4, np.inf])
@pytest.mark.usefixtures("flushing")
def test_u_at_a_step_is_left_to_tier_3_or_right(m, phi):
    for u0 in (0.01, 0.3, 0.77, 0.99):
        k, _ = quantile(m, phi, lattice(u0))
        step = float(cdf(np.array([float(k)]), np.array([m]), np.array([phi]))[0][0])
        for shift in range(-3, 4):
            u = lattice(step) + shift * 2.0**-52
            if not 0 < u < 1:
                continue
            y, status = quantile(m, phi, u)
            assert status in (CERTAIN, UNDECIDED)
            exact = settle(m, phi, u, int(y))
            assert exact == y or (status == UNDECIDED and abs(exact - y) <= 1)


def test_steps_are_really_undecided_somewhere():
    """Otherwise the test above could not fail for a bound that is too tight."""
    undecided = 0
    for m in (0.75, 20.0, 500.0):
        k, _ = quantile(m, 1.5, 0.3)
        step = float(cdf(np.array([float(k)]), np.array([m]), np.array([1.5]))[0][0])
        undecided += quantile(m, 1.5, lattice(step))[1] == UNDECIDED
    assert undecided >= 2
