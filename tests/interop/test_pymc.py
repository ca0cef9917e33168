"""A model of PyMC, sampled here and now: its own predictive counts and the stream's follow the same law."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.interop.agreement import check_agreement, law_means
from tests.interop.pymc_at_hand import import_pymc
from tests.posteriors import listed

N, T, DRAWS = 40, 3, 100
GENES = ["STAT1", "CD86", "JAK2"]
RNG = np.random.default_rng(0)
DEPTH = RNG.lognormal(0.0, 0.4, N)
MEANS, TOTALS = np.array([0.5, 4.0, 40.0]), np.array([0.8, 3.0, 10.0])
COUNTS = RNG.negative_binomial(TOTALS, TOTALS / (TOTALS + DEPTH[:, None] * MEANS))  # (n, t)


@pytest.fixture(scope="module")
def pm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """PyMC, with its warnings off.

    Its expressions run in Python: compiling them takes half a minute, which so small models don't earn back.
    """
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        folder = tmp_path_factory.mktemp("pytensor")
        patch.setenv("PYTENSOR_FLAGS", f"cxx=,mode=FAST_COMPILE,base_compiledir={folder}")
        found = import_pymc()
        warnings.simplefilter("ignore")
        yield found


@pytest.fixture(scope="module")
def fit(pm: Any) -> Any:
    """Draws of NUTS, PyMC's predictive counts, and its data, in an InferenceData."""
    with pm.Model(coords={"cell": [f"cell{n}" for n in range(N)], "gene": GENES}):
        depth = pm.Data("depth", DEPTH, dims="cell")
        mu = pm.LogNormal("mu", 0.0, 2.0, dims="gene")
        alpha = pm.LogNormal("alpha", 0.0, 2.0, dims="gene")
        pm.NegativeBinomial("y", mu=mu * depth[:, None], alpha=alpha, observed=COUNTS, dims=("cell", "gene"))
        found = pm.sample(
            DRAWS, tune=60, chains=2, cores=1, random_seed=1, progressbar=False, compute_convergence_checks=False
        )
        pm.sample_posterior_predictive(found, extend_inferencedata=True, random_seed=2, progressbar=False)
    return found


def test_its_predictive_counts_and_the_streams_follow_one_law(fit: Any) -> None:
    """Means, variances and zero fractions of 3 genes, at a false-alarm rate of 1e-4 in all."""
    posterior = Posterior.from_arviz(fit, mu="mu", phi="alpha", size_factor="depth")
    assert posterior.shape == (2 * DRAWS, N, T)
    assert listed(posterior.facts.feature_names) == GENES
    assert listed(posterior.cells.names)[:2] == ["cell0", "cell1"]
    theirs = fit.posterior_predictive["y"].values.reshape(2 * DRAWS, N, T)
    check_agreement(CountStream(posterior, seed=1)[:], theirs, law_means(posterior))
    np.testing.assert_allclose(np.median(posterior.read(np.arange(200)).mu, axis=0), MEANS, rtol=0.8)


def test_the_comparison_sees_means_that_are_larger_by_a_tenth(fit: Any) -> None:
    more = Posterior.from_arviz(fit, mu=lambda draws: draws.mu * 1.1, phi="alpha", size_factor="depth")
    theirs = fit.posterior_predictive["y"].values.reshape(2 * DRAWS, N, T)
    with pytest.raises(AssertionError, match="mean"):
        check_agreement(CountStream(more, seed=1)[:], theirs, law_means(more))


def test_its_file_gives_the_same_posterior(fit: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    given = {"mu": "mu", "phi": "alpha", "size_factor": "depth"}
    saved = Posterior.from_arviz(tmp_path / "fit.nc", **given)
    assert saved.digest() == Posterior.from_arviz(fit, **given).digest()


def test_its_zero_inflated_counts_with_covariates(pm: Any) -> None:
    """PyMC's psi is the chance of the negative binomial; here it is the same for all genes."""
    draws, design = 400, np.stack([np.ones(N), RNG.normal(size=N)], axis=1)
    values = {
        "beta": (("chain", "draw", "covariate", "gene"), RNG.normal([0.5, 1.0, 3.0], 0.2, (1, draws, 2, T))),
        "alpha": (("chain", "draw", "gene"), RNG.gamma(2.0, 1.0, (1, draws, T))),
        "psi": (("chain", "draw"), RNG.uniform(0.5, 0.9, (1, draws))),
    }
    coords = {"covariate": ["one", "dose"], "gene": GENES}
    data = xarray.Dataset(values, coords)
    with pm.Model(coords=coords):
        beta = pm.Normal("beta", dims=("covariate", "gene"))
        alpha, psi = pm.LogNormal("alpha", dims="gene"), pm.Beta("psi", 1.0, 1.0)
        mean = pm.math.exp(pm.math.dot(design / 3, beta))
        pm.ZeroInflatedNegativeBinomial("y", psi=psi, mu=mean, alpha=alpha, observed=np.zeros((N, T)))
        made = pm.sample_posterior_predictive(data, random_seed=3, progressbar=False)
    theirs = made.posterior_predictive["y"].values.reshape(draws, N, T)
    posterior = Posterior.from_arviz(data, phi="alpha", psi="psi", beta="beta", design=design / 3)
    assert posterior.shape == (draws, N, T)
    check_agreement(CountStream(posterior, seed=1)[:], theirs, law_means(posterior))
