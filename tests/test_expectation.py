"""What counts will be like, foreseen from the parameters alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from streamsample import expectation
from streamsample.expectation import ASSUMED, CountFacts
from streamsample.geometry import Selection
from streamsample.posterior import Posterior
from streamsample.rates import seconds_per_count


def entropy(mean: float, phi: float) -> float:
    """Bits of a negative binomial count, summed outright."""
    y = np.arange(int(20 * mean + 2000))
    p = stats.poisson.pmf(y, mean) if np.isinf(phi) else stats.nbinom.pmf(y, phi, phi / (phi + mean))
    return float(-(p[p > 0] * np.log2(p[p > 0])).sum())


@pytest.mark.parametrize(
    ("mean", "phi"), [(0.05, 2.0), (0.76, 1.5), (30.0, 0.3), (1000.0, 8.0), (5.0, np.inf), (5.0, 1e12)]
)
def test_the_entropy_is_that_of_the_distribution(mean: float, phi: float) -> None:
    # 16,384 counts: within 4 standard errors of about 0.02 bits at a fixed seed.
    posterior = Posterior.from_arrays(np.full((6, 5000), mean), np.full((6, 5000), phi), n_cells=50)
    found = CountFacts.of(posterior, Selection.of(posterior.shape))
    assert found.mean == pytest.approx(mean)
    assert found.bits == pytest.approx(entropy(mean, phi), abs=0.08)
    assert found.encoded_nbytes == pytest.approx(1.3 * found.bits / 8)
    assert found == CountFacts.of(posterior, Selection.of(posterior.shape))


def test_groups_size_factors_and_the_selection_count() -> None:
    rng = np.random.default_rng(0)
    mu, alpha = rng.gamma(2, 1, (3, 40)), rng.gamma(5, 0.2, (3, 2, 40))
    group, factor = np.arange(60) % 2, rng.lognormal(0, 0.3, 60)
    posterior = Posterior.from_arrays(mu, np.ones((3, 40)), alpha, size_factor=factor, group=group)
    only = Selection.of(posterior.shape, samples=[1], cells=[7], features=[5])
    expected = mu[1, 5] * alpha[1, 1, 5] * factor[7]
    assert CountFacts.of(posterior, only).mean == pytest.approx(expected)


def test_no_counts_at_all_take_no_bits() -> None:
    posterior = Posterior.from_arrays(np.zeros((1, 3)), np.ones((1, 3)), n_cells=4)
    assert CountFacts.of(posterior, Selection.of(posterior.shape)).bits == 0


def test_large_counts_take_longer() -> None:
    seconds = seconds_per_count(np.array([0.0, 0.01, 1.0, 2.0, 3.0, 1e6]))
    assert (np.diff(seconds) >= 0).all()
    assert seconds[2] == pytest.approx(1 / 351e6)
    assert 1 / 351e6 < seconds[3] < 1 / 89.3e6
    assert seconds[2] > ASSUMED.seconds > seconds[1]


def test_covariates_and_zero_inflation_count() -> None:
    rng = np.random.default_rng(3)
    beta, design = rng.normal(0, 0.4, (2, 3, 40)), rng.normal(size=(25, 3))
    chance = np.full((2, 40), 0.7)
    given = {"phi": np.full((2, 40), np.inf), "beta": beta, "design": design}
    plain = Posterior.from_arrays(**given)
    inflated = Posterior.from_arrays(**given, zero_inflation=chance)
    mean = np.exp(np.einsum("nk,skt->snt", design, beta))
    facts, thinned = (CountFacts.of(one, Selection.of(one.shape)) for one in (plain, inflated))
    assert facts.mean == pytest.approx(mean.mean(), rel=0.05)  # cells drawn at random: 16,384 of such means
    assert thinned.mean == pytest.approx(0.3 * facts.mean, rel=0.05)
    bits = np.mean([entropy(m, np.inf) for m in mean.ravel()[::7]])
    assert facts.bits == pytest.approx(bits, abs=0.1)
    assert thinned.bits == pytest.approx(np.mean([inflated_entropy(m, 0.7) for m in mean.ravel()[::7]]), abs=0.1)


def inflated_entropy(mean: float, inflation: float) -> float:
    """Bits of a zero-inflated Poisson count."""
    p = (1 - inflation) * stats.poisson.pmf(np.arange(int(20 * mean + 200)), mean)
    p[0] += inflation
    return float(-(p[p > 0] * np.log2(p[p > 0])).sum())


def test_many_covariates_are_looked_at_in_fewer_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectation, "_MOST_VALUES", 2000)
    rng = np.random.default_rng(4)
    design, beta = np.eye(90)[rng.integers(0, 90, 50)], rng.normal(0, 0.3, (6, 90, 30))
    posterior = Posterior.from_arrays(phi=np.full((6, 30), 5.0), beta=beta, design=design)
    assert expectation._looks(posterior) == (1, 2000 // 93)
    found = CountFacts.of(posterior, Selection.of(posterior.shape))
    assert found.mean == pytest.approx(np.exp(0.045), rel=0.2)
