"""What a user could call instead, on parameters of the same posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Task
from streamsample.posterior import Posterior

FloatArray = NDArray[np.float64]

NUMPY_COUNTS = 2_000_000
"""Counts that NumPy makes in a round: a tenth of a second, and far more than a cache holds."""


def parameters(posterior: Posterior, ncounts: int) -> tuple[FloatArray, FloatArray]:
    """Means and total counts of about so many counts, as two contiguous arrays.

    Whole rows of features are taken, from cells and samples that are spread over the posterior, so that the
    parameters are its own and in its order.
    """
    nsamples, ncells, nfeatures = posterior.shape
    rows = min(nsamples * ncells, max(1, ncounts // nfeatures))
    chosen = np.linspace(0, nsamples * ncells - 1, rows).astype(np.int64)
    s, n = chosen // ncells, chosen % ncells
    block, cells = posterior.read(np.arange(nsamples)), posterior.cells
    m = block.mu[s] * block.alpha[s, cells.group[n]] * cells.size_factor[n][:, None]  # (rows, T)
    return m.ravel(), np.ascontiguousarray(block.phi[s]).ravel()


def numpy_task(posterior: Posterior, ncounts: int = NUMPY_COUNTS) -> Task:
    """``numpy.random.Generator.negative_binomial``; its ``p`` is computed beforehand."""
    m, phi = parameters(posterior, ncounts)
    p = phi / (phi + m)
    rng = np.random.default_rng(1)
    return Task(lambda: rng.negative_binomial(phi, p), m.size)


def torch_task(posterior: Posterior, ncounts: int = NUMPY_COUNTS) -> Task:
    """``torch.distributions.NegativeBinomial.sample`` in float32, on one thread; made beforehand."""
    import torch

    m, phi = (torch.as_tensor(a, dtype=torch.float32).clamp(min=1e-30) for a in parameters(posterior, ncounts))
    law = torch.distributions.NegativeBinomial(phi, logits=m.log() - phi.log(), validate_args=False)
    return Task(on_one_torch_thread(law.sample), m.numel())


def scipy_task(posterior: Posterior, ncounts: int = NUMPY_COUNTS // 20) -> Task:
    """``scipy.stats.nbinom.ppf`` of uniform numbers made beforehand: the inversion that this package does, too."""
    from scipy.stats import nbinom

    m, phi = parameters(posterior, ncounts)
    p, u = phi / (phi + m), np.random.default_rng(1).random(m.size)
    return Task(lambda: nbinom.ppf(u, phi, p), m.size)


def pyro_task(posterior: Posterior, minibatch: int, nsamples: int, ncells: int, nfeatures: int) -> Task:
    """Pyro's ``Predictive`` drawing counts ``[S, N, T]`` of the first of each axis, a minibatch at a time.

    In float32, on one thread.
    """
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import Predictive

    block, cells = posterior.read(np.arange(nsamples), np.arange(nfeatures)), posterior.cells
    size_factor = torch.as_tensor(cells.size_factor[:ncells], dtype=torch.float32)[:, None]
    group = torch.as_tensor(cells.group[:ncells])
    draws = {
        name: torch.as_tensor(getattr(block, name), dtype=torch.float32).clamp(min=1e-30)
        for name in ("mu", "phi", "alpha")
    }
    draws = {name: value[:, None] if value.ndim == 2 else value for name, value in draws.items()}  # (S, 1 or C, T)

    def model() -> None:
        one = torch.ones(())
        with pyro.plate("feature", nfeatures, dim=-1):
            with pyro.plate("all_groups", 1, dim=-2):
                mu, phi = (pyro.sample(name, dist.Gamma(one, one)) for name in ("mu", "phi"))
            with pyro.plate("group", posterior.facts.ngroups, dim=-2):
                alpha = pyro.sample("alpha", dist.LogNormal(0 * one, one))
            with pyro.plate("cell", ncells, dim=-2):
                mean = mu * alpha[..., group, :] * size_factor  # (..., N, T)
                pyro.sample("y", dist.NegativeBinomial(phi, logits=mean.log() - phi.log()))

    def run() -> None:
        for s0 in range(0, nsamples, minibatch):
            some = {name: value[s0 : s0 + minibatch] for name, value in draws.items()}
            found = Predictive(model, some, return_sites=["y"], parallel=True)()["y"]
            assert found.shape[-2:] == (ncells, nfeatures)

    return Task(on_one_torch_thread(run), nsamples * ncells * nfeatures)


def on_one_torch_thread(run: Callable[[], object]) -> Callable[[], None]:
    """Run something with torch's number of threads set to 1, and put its own back."""
    import torch

    def call() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            run()
        finally:
            torch.set_num_threads(before)

    return call
