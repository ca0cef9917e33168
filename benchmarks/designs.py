"""The workloads with what the stream's second version knows beyond groups: covariates of the cells, zero inflation."""

from __future__ import annotations

import numpy as np

from benchmarks.workloads import Workload
from streamsample.geometry import Shape
from streamsample.posterior import Posterior

COLUMNS = 8
"""Of the design: eight normal covariates, which change a mean by a quarter or so."""
SPREAD = 0.1
"""Of their coefficients."""


def designed(workload: Workload, shape: Shape | None = None) -> Posterior:
    """Give the workload's cells a dense design."""
    nsamples, ncells, nfeatures = shape or workload.shape
    rng = np.random.default_rng(COLUMNS)
    return _with(
        workload.posterior(shape),
        beta=rng.normal(0.0, SPREAD, (nsamples, COLUMNS, nfeatures)).astype(np.float32),
        design=rng.normal(0.0, 1.0, (ncells, COLUMNS)),
    )


def inflated(workload: Workload, shape: Shape | None = None) -> Posterior:
    """Give the workload's features zero inflation between 0 and a half."""
    nsamples, _, nfeatures = shape or workload.shape
    drawn = np.random.default_rng(COLUMNS).uniform(0.0, 0.5, (nsamples, nfeatures)).astype(np.float32)
    return _with(workload.posterior(shape), zero_inflation=drawn)


def _with(posterior: Posterior, **more: object) -> Posterior:
    block, cells = posterior.read(np.arange(posterior.shape[0])), posterior.cells
    known = (array.astype(np.float32) for array in (block.mu, block.phi, block.alpha))
    return Posterior.from_arrays(*known, size_factor=cells.size_factor, group=cells.group, **more)  # type: ignore[arg-type]
