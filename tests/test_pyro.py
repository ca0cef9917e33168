"""The same posterior through Pyro's `Predictive` and through the stream, on small data.

Seeds are fixed. Each test splits a false-alarm rate of 1e-4 evenly over its comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.typing import NDArray
from pyro.distributions.testing.gof import multinomial_goodness_of_fit
from pyro.infer import Predictive
from scipy import stats

from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from streamsample.summary import summarise

FALSE_ALARMS = 1e-4
NSAMPLES, NCELLS = 200, 120
MEANS = np.array([0.05, 0.75, 3.0, 20.0, 300.0, 4000.0])
TOTALS = np.array([0.4, 2.0, 0.9, 8.0, 30.0, 3.0])
NFEATURES, NGROUPS = len(MEANS), 2


def parameters(spread: float) -> dict[str, Any]:
    """Draws that vary by `spread` (of a logarithm) over samples, and cells by as much in depth."""
    rng = np.random.default_rng(3)

    def around(values: NDArray[np.float64], *shape: int) -> NDArray[np.float32]:
        return np.asarray(values * rng.lognormal(0.0, spread, shape), dtype=np.float32)

    return {
        "mu": around(MEANS, NSAMPLES, NFEATURES),
        "phi": around(TOTALS, NSAMPLES, NFEATURES),
        "alpha": around(np.array([[1.0], [1.4]]) if spread else np.ones((2, 1)), NSAMPLES, NGROUPS, NFEATURES),
        "size_factor": around(np.ones(1), NCELLS).astype(np.float64),
        "group": np.arange(NCELLS) % NGROUPS,
    }


def through_pyro(given: dict[str, Any]) -> NDArray[np.float64]:
    """(S, N, T) counts that `Predictive` draws, one sample of the posterior each."""
    size_factor, group = torch.tensor(given["size_factor"])[:, None], torch.tensor(given["group"])

    def model() -> None:
        with pyro.plate("features", NFEATURES, dim=-1):
            mu = pyro.sample("mu", dist.Gamma(1.0, 1.0))
            phi = pyro.sample("phi", dist.Gamma(1.0, 1.0))
            with pyro.plate("groups", NGROUPS, dim=-2):
                alpha = pyro.sample("alpha", dist.LogNormal(0.0, 1.0))  # (C, T)
            with pyro.plate("cells", NCELLS, dim=-2):
                mean = mu * alpha[group] * size_factor  # (N, T)
                pyro.sample("y", dist.NegativeBinomial(total_count=phi, logits=mean.log() - phi.log()))

    pyro.set_rng_seed(1)
    draws = {name: torch.tensor(given[name].astype(np.float64)) for name in ("mu", "phi", "alpha")}
    counts: NDArray[np.float64] = Predictive(model, draws, return_sites=["y"])()["y"].numpy()
    return counts


def through_stream(given: dict[str, Any]) -> NDArray[np.float64]:
    """(S, N, T) counts of the stream."""
    return np.array(CountStream(Posterior.from_arrays(**given), seed=1), dtype=np.float64)


@pytest.fixture(scope="module")
def pair() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Counts of both, and their means, for draws that vary."""
    given = parameters(0.3)
    means = given["mu"][:, None].astype(float) * given["alpha"][:, given["group"]] * given["size_factor"][:, None]
    made = through_stream(given), through_pyro(given)
    assert made[0].shape == made[1].shape == means.shape == (NSAMPLES, NCELLS, NFEATURES)
    return *made, means


def test_means_variances_and_zero_fractions_agree(pair: Any) -> None:
    """Element by element both have the same law, so that paired differences have mean 0, by group and feature."""
    stream, other, means = pair
    group = parameters(0.3)["group"]
    statistics: dict[str, Callable[[Any], Any]] = {
        "mean": lambda y: y,
        "variance": lambda y: (y - means) ** 2,
        "zeros": lambda y: (y == 0).astype(float),
    }
    limit = stats.norm.isf(FALSE_ALARMS / 2 / (len(statistics) * NGROUPS * NFEATURES))
    for name, statistic in statistics.items():
        difference = statistic(stream) - statistic(other)
        for c in range(NGROUPS):
            chosen = difference[:, group == c].reshape(-1, NFEATURES)
            z = chosen.sum(axis=0) / np.sqrt(np.maximum((chosen**2).sum(axis=0), 1e-300))
            assert (np.abs(z) < limit).all(), (name, c, z)


def test_summaries_over_cells_have_the_same_law(pair: Any) -> None:
    """What the picture shows: 200 sample means and zero fractions a feature (Kolmogorov and Smirnov)."""
    given = parameters(0.3)
    found, other = summarise(CountStream(Posterior.from_arrays(**given), seed=1)), pair[1]
    for ours, theirs in ((found.mean, other.mean(axis=1)), (found.zero_fraction, (other == 0).mean(axis=1))):
        for t in range(NFEATURES):
            assert stats.ks_2samp(ours[:, t], theirs[:, t]).pvalue > FALSE_ALARMS / (2 * NFEATURES)


@pytest.mark.parametrize("draw", [through_stream, through_pyro])
def test_counts_fit_the_distribution(draw: Any) -> None:
    """24,000 counts a feature with the same parameters, in cells of 1/40 and more, against exact probabilities."""
    counts = draw(parameters(0.0)).reshape(-1, NFEATURES)
    for t, (m, phi) in enumerate(zip(np.float32(MEANS).astype(float), np.float32(TOTALS).astype(float), strict=True)):
        law = stats.nbinom(phi, phi / (phi + m))
        edges = np.unique(law.ppf(np.linspace(0, 1, 41)[1:-1]))  # upper ends; the last bin is what lies above
        probabilities = np.diff(law.cdf(edges), prepend=0.0, append=1.0)
        observed = np.bincount(np.searchsorted(edges, counts[:, t]), minlength=edges.size + 1)
        fit = multinomial_goodness_of_fit(
            torch.tensor(probabilities), torch.tensor(observed.astype(float)), total_count=len(counts)
        )
        assert fit > FALSE_ALARMS / NFEATURES, (m, phi)


def test_a_wrong_law_is_noticed(pair: Any) -> None:
    """The comparisons have the power to see 5 % more mean, 25 % less dispersion, and swapped groups."""
    given = parameters(0.3)
    for changes in (
        {"mu": given["mu"] * np.float32(1.05)},
        {"phi": given["phi"] * np.float32(1.25)},
        {"alpha": given["alpha"][:, ::-1]},
    ):
        wrong = through_stream(given | changes)
        with pytest.raises(AssertionError):
            test_means_variances_and_zero_fractions_agree((wrong, *pair[1:]))
