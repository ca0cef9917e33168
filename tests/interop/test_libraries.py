"""Real models of other libraries: their own predictive counts and the stream's follow the same law."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.optim import ClippedAdam
from scipy.special import logit

import streamsample as ss
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.interop.agreement import check_agreement, law_means
from tests.posteriors import listed

N, T, S = 50, 3, 200
RNG = np.random.default_rng(1)
TREATED, DEPTH = np.arange(N) % 2, RNG.lognormal(0.0, 0.4, N)
COUNTS = RNG.negative_binomial(2.0, 2.0 / (2.0 + DEPTH[:, None] * np.array([0.5, 3.0, 30.0])))


@pytest.fixture
def _fresh() -> Iterator[None]:
    with pyro.get_param_store().scope():
        yield


def regression(treated: torch.Tensor, depth: torch.Tensor, y: torch.Tensor | None = None) -> None:
    """Negative-binomial regression on a treatment, in Pyro."""
    with pyro.plate("genes", T, dim=-1):
        base = pyro.sample("base", dist.Normal(0.0, 2.0))
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        phi = pyro.sample("phi", dist.LogNormal(0.0, 1.0))
        with pyro.plate("cells", len(depth), dim=-2):
            mean = torch.exp(base + effect * treated[:, None]) * depth[:, None]
            pyro.sample("y", dist.NegativeBinomial(phi, logits=mean.log() - phi.log()), obs=y)


@pytest.mark.usefixtures("_fresh")
def test_a_regression_of_pyro() -> None:
    given = torch.tensor(TREATED), torch.tensor(DEPTH)
    pyro.set_rng_seed(0)
    guide = AutoNormal(regression)
    svi = SVI(regression, guide, ClippedAdam({"lr": 0.05}), Trace_ELBO())
    for _ in range(150):
        svi.step(*given, torch.tensor(COUNTS, dtype=torch.float64))
    posterior = ss.draw_posterior(
        regression, guide, given, S,
        mu=lambda sites: sites["base"].exp(),
        phi="phi",
        alpha=lambda sites: torch.stack([torch.zeros(T), sites["effect"]]).exp(),
        size_factor=DEPTH,
        group=TREATED,
    )  # fmt: skip
    block = posterior.read(np.arange(S))
    draws = {"base": np.log(block.mu), "effect": np.log(block.alpha[:, 1]), "phi": block.phi}
    samples = {name: torch.tensor(value)[:, None] for name, value in draws.items()}  # (s, 1, t), left of the cells
    theirs = Predictive(regression, samples, return_sites=["y"], parallel=True)(*given)["y"]
    check_agreement(CountStream(posterior, seed=1)[:], theirs, law_means(posterior))
    np.testing.assert_allclose(np.median(block.mu, axis=0), [0.5, 3.0, 30.0], rtol=0.8)


def zero_inflated(library: torch.Tensor, y: torch.Tensor | None = None) -> None:
    """Shares of a cell's library, dispersions and dropout of each gene: the likelihood of scvi-tools, in Pyro."""
    with pyro.plate("genes", T, dim=-1):
        rho = pyro.sample("rho", dist.Normal(0.0, 2.0))
        theta = pyro.sample("theta", dist.LogNormal(0.0, 1.0))
        dropout = pyro.sample("dropout", dist.Normal(0.0, 2.0))
        with pyro.plate("cells", len(library), dim=-2):
            mean = torch.softmax(rho, -1) * library[:, None]
            law = dist.ZeroInflatedNegativeBinomial(theta, logits=mean.log() - theta.log(), gate_logits=dropout)
            pyro.sample("y", law, obs=y)


@pytest.mark.usefixtures("_fresh")
def test_a_zero_inflated_model_of_pyro() -> None:
    library, kept = 30 * DEPTH, RNG.random((N, T)) > [0.5, 0.2, 0.05]
    pyro.set_rng_seed(0)
    guide = AutoNormal(zero_inflated)
    svi = SVI(zero_inflated, guide, ClippedAdam({"lr": 0.05}), Trace_ELBO())
    for _ in range(150):
        svi.step(torch.tensor(library), torch.tensor(COUNTS * kept, dtype=torch.float64))
    posterior = ss.draw_posterior(
        zero_inflated, guide, (torch.tensor(library),), S,
        mu=lambda sites: torch.softmax(sites["rho"], -1),
        phi="theta",
        zero_inflation=lambda sites: torch.sigmoid(sites["dropout"]),
        size_factor=library,
    )  # fmt: skip
    assert posterior.facts.stream_version == 2
    block = posterior.read(np.arange(S))
    draws = {"rho": np.log(block.mu), "theta": block.phi, "dropout": logit(block.zero_inflation)}
    samples = {name: torch.tensor(value)[:, None] for name, value in draws.items()}
    theirs = Predictive(zero_inflated, samples, return_sites=["y"], parallel=True)(torch.tensor(library))["y"]
    check_agreement(CountStream(posterior, seed=1)[:], theirs, law_means(posterior))
    without = Posterior.from_arrays(block.mu, block.phi, size_factor=library)
    with pytest.raises(AssertionError, match="mean"):
        check_agreement(CountStream(without, seed=1)[:], theirs, law_means(posterior))


def test_a_log_linear_model_of_numpyro_with_continuous_covariates() -> None:
    """An intercept, a dose and an age: the mean is all in the coefficients."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as law
    from numpyro.infer import MCMC, NUTS
    from numpyro.infer import Predictive as Forward

    design = np.stack([np.ones(N), RNG.uniform(0.0, 2.0, N), RNG.normal(size=N)], axis=1)

    def model(depth: Any, y: Any = None) -> None:
        with numpyro.plate("genes", T, dim=-1):
            with numpyro.plate("covariates", design.shape[1], dim=-2):
                beta = numpyro.sample("beta", law.Normal(0.0, 1.0))
            concentration = numpyro.sample("concentration", law.LogNormal(0.0, 1.0))
            with numpyro.plate("cells", N, dim=-2):
                mean = jnp.exp(jnp.matmul(design, beta)) * depth[:, None]
                numpyro.sample("y", law.NegativeBinomial2(mean, concentration), obs=y)

    true = np.array([[0.0, 1.0, 3.0], [0.5, -0.5, 0.0], [0.3, 0.0, -0.3]])
    means = np.exp(design @ true) * DEPTH[:, None]
    counts = RNG.negative_binomial(2.0, 2.0 / (2.0 + means))
    mcmc = MCMC(NUTS(model), num_warmup=80, num_samples=S, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0), DEPTH, counts)
    draws = mcmc.get_samples(group_by_chain=True)
    dims = {"beta": ("chain", "draw", "covariate", "gene"), "concentration": ("chain", "draw", "gene")}
    data = xarray.Dataset(
        {name: (dims[name], np.asarray(value)) for name, value in draws.items()},
        {"covariate": ["intercept", "dose", "age"]},
    )
    posterior = Posterior.from_arviz(data, concentration="concentration", beta="beta", design=design, size_factor=DEPTH)
    assert listed(posterior.facts.covariate_names) == ["intercept", "dose", "age"]
    theirs = Forward(model, mcmc.get_samples(), return_sites=["y"])(jax.random.PRNGKey(1), DEPTH)["y"]
    ours = CountStream(posterior, seed=1)[:]
    check_agreement(ours, theirs, law_means(posterior))
    np.testing.assert_allclose(np.median(draws["beta"], axis=(0, 1)), true, atol=0.7)
    without = Posterior.from_arviz(
        data, concentration="concentration", beta="beta", design=design * [1.0, 0.0, 1.0], size_factor=DEPTH
    )
    with pytest.raises(AssertionError, match="mean"):  # the comparison sees that the dose is not there
        check_agreement(CountStream(without, seed=1)[:], theirs, law_means(posterior))


def test_a_model_of_numpyro_with_nuts() -> None:
    import jax
    import numpyro
    import numpyro.distributions as law
    from numpyro.infer import MCMC, NUTS
    from numpyro.infer import Predictive as Forward

    def model(depth: Any, y: Any = None) -> None:
        with numpyro.plate("genes", T, dim=-1):
            mean = numpyro.sample("mean", law.LogNormal(0.0, 2.0))
            concentration = numpyro.sample("concentration", law.LogNormal(0.0, 1.0))
            with numpyro.plate("cells", N, dim=-2):
                numpyro.sample("y", law.NegativeBinomial2(mean * depth[:, None], concentration), obs=y)

    mcmc = MCMC(
        NUTS(model), num_warmup=60, num_samples=S // 2, num_chains=2, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.PRNGKey(0), DEPTH, COUNTS)
    draws = mcmc.get_samples(group_by_chain=True)
    data = xarray.Dataset({name: (("chain", "draw", "gene"), np.asarray(value)) for name, value in draws.items()})
    posterior = Posterior.from_arviz(data, mean="mean", concentration="concentration", size_factor=DEPTH)
    assert posterior.shape == (S, N, T)
    theirs = Forward(model, mcmc.get_samples(), return_sites=["y"])(jax.random.PRNGKey(1), DEPTH)["y"]
    check_agreement(CountStream(posterior, seed=1)[:], theirs, law_means(posterior))


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_rates_dispersions_and_dropout_of_scvi(zero_inflated: bool) -> None:
    """A library of counts a cell spread over genes, ``theta`` a gene: Poisson counts of Gamma rates, some lost."""
    generator = torch.Generator().manual_seed(3)
    scale = torch.softmax(torch.randn(S, T, generator=generator), -1)
    theta = torch.exp(torch.randn(S, T, generator=generator))
    library, dropout = torch.tensor(20 * DEPTH), torch.randn(S, T, generator=generator)
    draws = {"px_scale": scale, "px_r": theta, "px_dropout": dropout}
    data = xarray.Dataset({name: (("sample", "gene"), value) for name, value in draws.items()})
    given = {"mu": "px_scale", "theta": "px_r"} | ({"zi_logits": "px_dropout"} if zero_inflated else {})
    posterior = Posterior.from_arviz(data, **given, size_factor=library.numpy(), sample_dims=("sample",))
    rate = scale[:, None] * library[:, None]
    torch.manual_seed(4)
    gamma = torch.distributions.Gamma(theta[:, None].expand(rate.shape), theta[:, None] / rate).sample()
    kept = torch.rand(rate.shape) >= torch.sigmoid(dropout)[:, None] * zero_inflated
    check_agreement(CountStream(posterior, seed=1)[:], torch.poisson(gamma) * kept, law_means(posterior))


def test_two_fits_with_one_seed_differ_less() -> None:
    """Common random numbers: the same u in both, so that what differs is the parameters' doing."""
    mean = RNG.gamma(2.0, 2.0, (S, 1))
    fits = [Posterior.from_arrays(mean * factor, np.full((S, 1), 3.0), n_cells=400) for factor in (1.0, 1.1)]
    shares = {}
    for name, seeds in {"same": (0, 0), "other": (0, 1)}.items():
        a, b = (CountStream(fit, seed)[:].astype(float) for fit, seed in zip(fits, seeds, strict=True))
        shares[name] = (b - a).var()
        # The effect itself is the same: the mean difference is within 5 of its own standard errors.
        assert abs((b - a).mean() - 0.1 * mean.mean()) < 5 * (b - a).std() / (b - a).size ** 0.5
        if name == "same":
            assert (b >= a).all()  # a larger mean gives no smaller count
    assert shares["same"] < 0.1 * shares["other"]


def test_fits_of_two_halves_differ_less_with_one_seed(ntc_h5ad: Path) -> None:
    """Fits of other cells, compared in the same cells: 0.019 of the variance that two seeds give."""
    whole = anndata.read_h5ad(ntc_h5ad)
    halves = [whole[first::2] for first in (0, 1)]
    fits = [
        ss.TechnicalModel.from_anndata(half, "bio_rep")
        .fit_technical(nsamples=20, niters=150, tolerance=0)
        .for_cells(halves[0])
        for half in halves
    ]
    differences = {}
    for name, seeds in {"same": (0, 0), "other": (0, 1)}.items():
        a, b = (CountStream(fit, seed)[:].astype(float) for fit, seed in zip(fits, seeds, strict=True))
        differences[name] = b - a
    same, other = differences["same"], differences["other"]
    assert same.var() < 0.05 * other.var()
    # What the fits differ by is the same: the means are within 5 standard errors of the noisier.
    assert abs(same.mean() - other.mean()) < 5 * other.std() / other.size**0.5
    shares = same.var(axis=(0, 1)) / np.maximum(other.var(axis=(0, 1)), 1e-300)
    assert np.median(shares) < 0.2  # not of a few features alone
