"""Steps of a fit: with the likelihood of the fit, and with that of a plain Pyro model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import torch

from benchmarks.workloads import REAL, NotAtHandError, data_folder
from streamsample.fit import TechnicalModel
from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.model import Likelihood, Technical
from streamsample.fit.observations import Observations
from streamsample.fit.start import Start, start_at
from streamsample.fit.svi import fit

CPU = torch.device("cpu")


def observations(source: str | os.PathLike[str], group_key: str) -> Observations:
    """Counts of the features that have some in every group."""
    model = TechnicalModel.from_anndata(source, group_key)
    size_factor, _ = model.depth.size_factors("sum_factor")
    ngroups = model.group_names.size
    everything = Observations(model.counts, model.group, size_factor, ngroups, model.reference)
    seen = (everything.group_sums() > 0).all(axis=0)
    return Observations(model.counts[:, seen], model.group, size_factor, ngroups, model.reference)


def real_file(name: str) -> Path:
    """File of real counts, by its name in `REAL`.

    Raises
    ------
    NotAtHandError
        If it is not there.
    """
    path = data_folder() / REAL[name].file
    if not path.exists():
        raise NotAtHandError(f"no {path.name} in {path.parent}: set STREAMSAMPLE_DATA to the folder that has it")
    return path


def plain(data: Observations, dtype: torch.dtype = torch.float32) -> Likelihood:
    """Observe all counts at a site of Pyro's own, as a model is usually written."""
    counts = torch.as_tensor(data.counts.toarray(), dtype=dtype)  # (N, T)
    group, size_factor = torch.as_tensor(data.group), torch.as_tensor(data.size_factor, dtype=dtype)

    def likelihood(base: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        mean = base[group] * size_factor[:, None]
        with pyro.plate("observed cell", counts.shape[0], dim=-2), pyro.plate("observed feature", counts.shape[1]):
            pyro.sample("y", dist.NegativeBinomial(phi, logits=mean.log() - phi.log()), obs=counts)
        return torch.zeros((), dtype=dtype)  # Pyro adds up the site itself

    return likelihood


def steps(data: Observations, likelihood: Likelihood, nsteps: int) -> Callable[[], list[float]]:
    """Fit anew for some steps on one thread, from the same start with the same noise; return the losses."""
    begin: Start = start_at(data)
    model = Technical.of(begin, data.ngroups, data.reference, CPU)

    def run() -> list[float]:
        return list(fit(model, likelihood, begin, niters=nsteps, tolerance=0).report.losses)

    return run


def lean(data: Observations) -> Likelihood:
    """Return what the fit uses."""
    return CountLikelihood(data, CPU)


def corner(data: Observations, ncells: int, nfeatures: int) -> Observations:
    """Take some cells of all groups, and of the features the first that have counts in each of them."""
    cells = np.linspace(0, data.shape[0] - 1, ncells).astype(int)
    some = data.of_cells(cells)
    seen = np.flatnonzero((some.group_sums() > 0).all(axis=0))[:nfeatures]
    return Observations(some.counts[:, seen], some.group, some.size_factor, some.ngroups, some.reference)
