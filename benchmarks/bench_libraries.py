"""Predictive counts of other libraries, each in its own words, against the stream with the same draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import BenchSlab
from benchmarks.workloads import WORKLOADS
from streamsample.posterior import Posterior

Draws = tuple[Any, Any, Any]
"""Means (S, T) at size factor 1, total counts (S, T) and size factors (N,), all float32."""


def numpyro_task(draws: Draws) -> Callable[[], object]:
    """``numpyro.infer.Predictive`` of ``NegativeBinomial2``, compiled beforehand, on the threads that JAX takes."""
    import jax
    import numpyro
    import numpyro.distributions as law
    from numpyro.infer import Predictive

    mu, phi, depth = draws

    def model() -> None:
        with numpyro.plate("genes", mu.shape[1], dim=-1):
            mean, concentration = (numpyro.sample(name, law.Exponential(1.0)) for name in ("mean", "concentration"))
            with numpyro.plate("cells", len(depth), dim=-2):
                numpyro.sample("y", law.NegativeBinomial2(mean * depth[:, None], concentration))

    run = jax.jit(Predictive(model, {"mean": mu, "concentration": phi}, return_sites=["y"]))
    return lambda: run(jax.random.PRNGKey(0))["y"].block_until_ready()


def scvi_task(draws: Draws) -> Callable[[], object]:
    """Poisson counts of Gamma rates in torch, as scvi-tools draws them from (mu, theta), on torch's own threads."""
    import torch

    mu, phi, depth = (torch.as_tensor(array) for array in draws)
    rate = mu[:, None] * depth[:, None]
    law = torch.distributions.Gamma(phi[:, None].expand(rate.shape), phi[:, None] / rate)
    return lambda: torch.poisson(law.sample())


def pymc_task(draws: Draws) -> Callable[[], object]:
    """``pymc.sample_posterior_predictive``, which compiles at each call; only where PyMC is installed."""
    pm, xarray = pytest.importorskip("pymc"), pytest.importorskip("xarray")
    mu, phi, depth = draws
    samples = {name: (("chain", "draw", "gene"), value[None]) for name, value in (("mu", mu), ("alpha", phi))}
    data = xarray.Dataset(samples)
    with pm.Model() as model:
        mean, total = (pm.LogNormal(name, 0.0, 1.0, shape=mu.shape[1]) for name in ("mu", "alpha"))
        pm.NegativeBinomial("y", mu=mean * depth[:, None], alpha=total, observed=np.zeros((len(depth), mu.shape[1])))

    def run() -> object:
        with model:
            return pm.sample_posterior_predictive(data, progressbar=False)

    return run


LIBRARIES = {"NumPyro Predictive": numpyro_task, "scvi-tools' form": scvi_task, "PyMC": pymc_task}


@pytest.mark.benchmark(group="libraries")
@pytest.mark.parametrize("name", LIBRARIES)
def test_library(name: str, race: Race, check: Callable[[BenchSlab], None], small: bool, all_threads: int) -> None:
    """Both on all threads, as a user would have it."""
    shape = (4, 16, 100) if small else (20, 200, 1000)
    made = WORKLOADS["single_cell"].posterior(shape)
    block, depth = made.read(np.arange(shape[0])), made.cells.size_factor.astype(np.float32)
    mu, phi = block.mu.astype(np.float32), block.phi.astype(np.float32)
    theirs = LIBRARIES[name]((mu, phi, depth))
    theirs()
    slab = BenchSlab(Posterior.from_arrays(mu, phi, size_factor=depth))
    race(slab.task(all_threads), {"theirs": Task(theirs, slab.out.size)})
    check(slab)
