"""Predictive counts of other libraries, each in its own words, against the stream with the same draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import BenchSlab
from benchmarks.workloads import WORKLOADS
from streamsample.posterior import Posterior
from tests.interop.pymc_at_hand import import_pymc

Draws = Mapping[str, Any]
"""What `Posterior.from_arrays` takes, draws in float32: means (S, T) at size factor 1, total counts (S, T), size
factors (N,), and of some models zero inflation (S, T), or coefficients (S, K, T) and a design (N, K)."""


def plain(draws: Draws) -> Draws:
    """The draws as they are."""
    return draws


def zero_inflated(draws: Draws) -> Draws:
    """A tenth to a half of each feature's counts lost."""
    shape = draws["mu"].shape
    return {**draws, "zero_inflation": np.random.default_rng(0).uniform(0.1, 0.5, shape).astype(np.float32)}


def log_linear(draws: Draws) -> Draws:
    """An intercept, which is the mean, and two continuous covariates."""
    rng, (nsamples, nfeatures) = np.random.default_rng(0), draws["mu"].shape
    slopes = rng.normal(0.0, 0.3, (nsamples, 2, nfeatures))
    ncells = len(draws["size_factor"])
    return {
        "phi": draws["phi"],
        "size_factor": draws["size_factor"],
        "beta": np.concatenate([np.log(draws["mu"])[:, None], slopes], axis=1).astype(np.float32),
        "design": np.column_stack([np.ones(ncells), rng.uniform(0.0, 2.0, ncells), rng.normal(size=ncells)]),
    }


def numpyro_task(draws: Draws) -> Callable[[], object]:
    """``numpyro.infer.Predictive`` of ``NegativeBinomial2``, compiled beforehand, on the threads that JAX takes."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as law
    from numpyro.infer import Predictive

    depth = draws["size_factor"][:, None]
    latents = {"total": draws["phi"]} | {name: draws[name] for name in ("mu", "beta") if name in draws}

    def model() -> None:
        found = {
            name: numpyro.sample(name, law.ImproperUniform(law.constraints.real, (), v.shape[1:]))
            for name, v in latents.items()
        }
        mean = found["mu"] if "mu" in found else jnp.exp(jnp.matmul(draws["design"].astype(np.float32), found["beta"]))
        numpyro.sample("y", law.NegativeBinomial2(mean * depth, found["total"]))

    run = jax.jit(Predictive(model, latents, return_sites=["y"]))
    return lambda: run(jax.random.PRNGKey(0))["y"].block_until_ready()


def scvi_task(draws: Draws) -> Callable[[], object]:
    """Poisson counts of Gamma rates in torch, as scvi-tools draws them from (mu, theta), on torch's own threads.

    With zero inflation, counts at which a uniform number is below it become 0.
    """
    import torch

    mu, phi, depth = (torch.as_tensor(draws[name]) for name in ("mu", "phi", "size_factor"))
    rate = mu[:, None] * depth[:, None]
    law = torch.distributions.Gamma(phi[:, None].expand(rate.shape), phi[:, None] / rate)
    if "zero_inflation" not in draws:
        return lambda: torch.poisson(law.sample())
    lost = torch.as_tensor(draws["zero_inflation"])[:, None]

    def run() -> object:
        counts = torch.poisson(law.sample())
        counts[torch.rand_like(counts) <= lost] = 0.0
        return counts

    return run


def pymc_task(draws: Draws) -> Callable[[], object]:
    """``pymc.sample_posterior_predictive``, which compiles at each call."""
    import xarray

    pm = import_pymc()
    mu, phi, depth = (draws[name] for name in ("mu", "phi", "size_factor"))
    samples = {name: (("chain", "draw", "gene"), value[None]) for name, value in (("mu", mu), ("alpha", phi))}
    data = xarray.Dataset(samples)
    with pm.Model() as model:
        mean, total = (pm.LogNormal(name, 0.0, 1.0, shape=mu.shape[1]) for name in ("mu", "alpha"))
        pm.NegativeBinomial("y", mu=mean * depth[:, None], alpha=total, observed=np.zeros((len(depth), mu.shape[1])))

    def run() -> object:
        with model:
            return pm.sample_posterior_predictive(data, progressbar=False)

    return run


LIBRARIES: dict[str, tuple[Callable[[Draws], Callable[[], object]], Callable[[Draws], Draws]]] = {
    "NumPyro Predictive": (numpyro_task, plain),
    "NumPyro Predictive, log-linear in 3 covariates": (numpyro_task, log_linear),
    "scvi-tools' form": (scvi_task, plain),
    "scvi-tools' form, zero-inflated": (scvi_task, zero_inflated),
    "PyMC": (pymc_task, plain),
}


@pytest.mark.benchmark(group="libraries")
@pytest.mark.parametrize("name", LIBRARIES)
def test_library(name: str, race: Race, check: Callable[[BenchSlab], None], small: bool, all_threads: int) -> None:
    """Both on all threads, as a user would have it."""
    shape = (4, 16, 100) if small else (20, 200, 1000)
    made = WORKLOADS["single_cell"].posterior(shape)
    block = made.read(np.arange(shape[0]))
    task, model = LIBRARIES[name]
    drawn = {"mu": block.mu, "phi": block.phi, "size_factor": made.cells.size_factor}
    draws = model({name: array.astype(np.float32) for name, array in drawn.items()})
    theirs = task(draws)
    theirs()
    slab = BenchSlab(Posterior.from_arrays(**draws))
    race(slab.task(all_threads), {"theirs": Task(theirs, slab.out.size)})
    check(slab)
