"""The type of the counts: the bound bounds, and the choice is the narrowest that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import nbinom, poisson

from streamsample import overflow
from streamsample.errors import PlanError
from streamsample.overflow import ACCEPTED, log_tail_bound, narrowest_dtype, tail
from streamsample.posterior import Posterior


def one_row(mean: float, phi: float, ncells: int = 1) -> Posterior:
    return Posterior.from_arrays([[mean]], [[phi]], n_cells=ncells)


def nb_sf(x: int, mean: float, phi: float) -> float:
    """P(Y >= x) by SciPy; its p = phi / (phi + mean) is good enough at moderate phi."""
    return float(poisson.sf(x - 1, mean) if math.isinf(phi) else nbinom.sf(x - 1, phi, phi / (phi + mean)))


@given(
    x=st.integers(1, 70_000),
    mean=st.floats(-3, 5).map(lambda e: 10.0**e),
    phi=st.one_of(st.floats(-2, 6).map(lambda e: 10.0**e), st.just(math.inf)),
)
def test_bound_is_never_below_the_chance(x: int, mean: float, phi: float) -> None:
    bound = math.exp(log_tail_bound(float(x), np.array([mean]), np.array([phi]))[0])
    assert bound >= nb_sf(x, mean, phi) * (1 - 1e-6)


@pytest.mark.parametrize("mean", [0.1, 3.0, 40.0, 200.0])
@pytest.mark.parametrize("phi", [0.5, 8.0, 1e4, math.inf])
def test_tail_is_the_chance_itself(mean: float, phi: float) -> None:
    for x in (1, 50, 256):
        found = tail(float(x), np.array([mean]), np.array([phi]))[0]
        assert found == pytest.approx(nb_sf(x, mean, phi), rel=1e-6, abs=1e-300)


def test_bound_keeps_its_digits_at_the_largest_phi() -> None:
    # At phi = 1e12 the distribution is Poisson to within about x**2 / phi.
    means = np.array([0.5, 20.0, 200.0])
    near = log_tail_bound(256.0, means, np.full(3, 1e12))
    np.testing.assert_allclose(near, log_tail_bound(256.0, means, np.full(3, math.inf)), rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "phi", "dtype"),
    [
        (0.0, 1.0, "uint8"),
        (1.0, 5.0, "uint8"),
        (100.0, 5.0, "uint16"),
        (300.0, math.inf, "uint16"),
        (1e6, 9.0, "uint32"),
    ],
)
def test_narrowest(mean: float, phi: float, dtype: str) -> None:
    assert narrowest_dtype(one_row(mean, phi)).dtype == dtype


@pytest.mark.parametrize("phi", [0.7, 12.0, math.inf])
def test_limit_is_on_the_sum_over_all_cells(phi: float) -> None:
    ncells = 1000
    border = brentq(lambda mean: ncells * nb_sf(256, mean, phi) - ACCEPTED, 0.1, 255.0, xtol=1e-12)
    below, above = (narrowest_dtype(one_row(border * factor, phi, ncells)) for factor in (0.998, 1.002))
    assert (below.dtype, above.dtype) == ("uint8", "uint16")
    assert 0.5 * ACCEPTED < below.chance < ACCEPTED
    assert "uint8 is too narrow at (s=0, c=0, t=0)" in above.reason


def test_largest_size_factor_of_each_group_decides() -> None:
    mu, phi = np.full((1, 1), 5.0), np.full((1, 1), math.inf)
    alpha = np.array([[[1.0], [30.0]]])

    def choose(size_factor: list[float], group: list[int]) -> str:
        return narrowest_dtype(Posterior.from_arrays(mu, phi, alpha, size_factor=size_factor, group=group)).dtype

    assert choose([1.0, 1.0, 50.0], [0, 0, 0]) == "uint16"
    assert choose([1.0, 1.0, 1.0], [0, 0, 0]) == "uint8"  # no cell is in the second group
    assert choose([1.0, 1.0, 1.0], [0, 0, 1]) == "uint8"
    assert choose([1.0, 1.0, 2.0], [0, 0, 1]) == "uint16"


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    shape = 7, 40
    mu, phi, alpha = rng.gamma(1, 2, shape), rng.gamma(3, 3, shape), rng.lognormal(0, 0.3, (7, 2, 40))
    posterior = Posterior.from_arrays(mu, phi, alpha, size_factor=np.ones(9), group=np.arange(9) % 2)
    whole = narrowest_dtype(posterior)
    monkeypatch.setattr(overflow, "_BLOCK_NBYTES", 1)
    cut = narrowest_dtype(posterior)
    assert cut.dtype == whole.dtype
    assert cut.chance == pytest.approx(whole.chance, rel=1e-9)


def test_refuses_what_uint32_does_not_hold_and_names_the_rows() -> None:
    mu = np.ones((3, 4))
    phi = np.ones((3, 4))
    mu[1, 2], phi[1, 2] = 9e6, 1e-6
    mu[2, 2], phi[2, 2] = 8e6, 1e-6
    posterior = Posterior.from_arrays(mu, phi, n_cells=5, feature_names=list("abcd"))
    with pytest.raises(
        PlanError, match=r"2 rows .* uint32 is too narrow at \(s=1, c=0, t=2, c\): mean 9e\+06"
    ) as error:
        narrowest_dtype(posterior)
    assert "\n" not in str(error.value)


def designed(effect: float, mu: float = 2.0, phi: float = math.inf) -> Posterior:
    """A thousand cells, of which the last is `effect` above the others on the log scale."""
    design = np.zeros((1000, 2))
    design[-1] = effect, 1.0
    beta = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    return Posterior.from_arrays([[mu, mu]], [[phi, phi]], beta=beta, design=design)


@pytest.mark.parametrize(("effect", "dtype"), [(0.0, "uint8"), (4.0, "uint8"), (5.5, "uint16"), (10.5, "uint32")])
def test_the_design_decides(effect: float, dtype: str) -> None:
    found = narrowest_dtype(designed(effect))
    mean = 2 * math.exp(effect)
    assert found.dtype == dtype
    assert found.promised
    assert found.chance >= 1000 * nb_sf(int(np.iinfo(dtype).max) + 1, mean, math.inf) * 0.99
    if dtype != "uint8":
        assert "is too narrow at (s=0, c=0, t=0): mean up to" in found.reason


def test_a_design_that_promises_nothing_takes_the_widest() -> None:
    found = narrowest_dtype(designed(0.0, mu=1e7, phi=1e-6))
    assert (found.dtype, found.promised) == ("uint32", False)
    assert found.reason.startswith(
        "the bounds of the design's means don't promise that it holds every count; uint32 is"
    )
    assert narrowest_dtype(designed(800.0)).dtype == "uint32"


def test_means_of_a_group_are_bounded_by_its_own_cells() -> None:
    given = {"mu": [[2.0]], "phi": [[math.inf]], "alpha": [[[1.0], [100.0]]], "beta": [[[1.0]]]}
    design, group = np.array([[0.0], [6.0], [0.0]]), [0, 0, 1]
    assert narrowest_dtype(Posterior.from_arrays(**given, design=design, group=group)).dtype == "uint16"
    assert narrowest_dtype(Posterior.from_arrays(**given, design=design, group=[0, 1, 0])).dtype == "uint32"
    assert narrowest_dtype(Posterior.from_arrays(**given, design=design / 5, group=[0, 0, 0])).dtype == "uint8"


def test_zero_inflation_leaves_the_bound_as_it_is() -> None:
    plain, inflated = one_row(100.0, 5.0), Posterior.from_arrays([[100.0]], [[5.0]], zero_inflation=[[0.5]], n_cells=1)
    assert narrowest_dtype(plain) == narrowest_dtype(inflated)
