"""Posteriors that the benchmarks run on: six made ones that span real data's regimes, and two fitted to real counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streamsample.geometry import Shape
from streamsample.posterior import Posterior

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache"
"""Fitted posteriors, compiled kernels and results; git ignores it."""

SPREAD = 0.05
"""Of the draws of a feature's mu and phi, around its own (of a logarithm)."""
SMALL: Shape = (2, 64, 600)
"""What is enough for a benchmark that runs as a test."""


class NotAtHandError(FileNotFoundError):
    """A posterior can't be had here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """Log-normal means and total counts, in random order of the features, for cells of random depth in two groups."""

    name: str
    shape: Shape
    """(S, N, T) of the slab that the kernel is measured on."""
    mu: tuple[float, float]
    """Mean and standard deviation of its logarithm over features."""
    phi: tuple[float, float]
    """The same of the total count."""
    must: float | None = None
    """Least ratio of the kernel's rate to NumPy's, one thread each."""
    goal: float | None = None
    """The ratio aimed at."""

    def posterior(self, shape: Shape | None = None) -> Posterior:
        """Draw it, the same every time.

        Parameters
        ----------
        shape
            Another (S, N, T) than the workload's own.
        """
        nsamples, ncells, nfeatures = shape or self.shape
        rng = np.random.default_rng(crc32(self.name.encode()))

        def draws(law: tuple[float, float]) -> NDArray[np.float32]:
            features = rng.normal(*law, nfeatures)  # (T,)
            return np.exp(features + rng.normal(0.0, SPREAD, (nsamples, nfeatures))).astype(np.float32)

        return Posterior.from_arrays(
            draws(self.mu),
            draws(self.phi),
            rng.lognormal(0.0, 0.2, (nsamples, 2, nfeatures)).astype(np.float32),
            size_factor=rng.lognormal(0.0, 0.4, ncells),
            group=rng.integers(0, 2, ncells),
        )


@dataclass(frozen=True)
class RealData:
    """A posterior of the technical model, fitted once to counts that were observed, and for the cells of the fit."""

    name: str
    file: str
    """AnnData file in the folder of the data."""
    group_key: str
    nsamples: int
    """Draws to keep."""
    must: None = None
    goal: None = None

    def posterior(self, *, fit: bool = True) -> Posterior:
        """Open it, and fit it first where that has not been done.

        Raises
        ------
        NotAtHandError
            If the data are not there, or it is not fitted and `fit` is False.
        """
        saved, counts = CACHE / f"{self.name}.h5", data_folder() / self.file
        if not saved.exists():
            if not counts.exists():
                raise NotAtHandError(
                    f"no {self.file} in {counts.parent}: set STREAMSAMPLE_DATA to the folder that has it"
                )
            if not fit:
                raise NotAtHandError(f"no posterior of {self.file} has been fitted yet: make bench does that")
            from streamsample.fit import TechnicalModel

            CACHE.mkdir(exist_ok=True)
            model = TechnicalModel.from_anndata(counts, group_key=self.group_key)
            model.fit_technical(nsamples=self.nsamples).save(saved)
        return Posterior.open(saved)


def data_folder() -> Path:
    """Where files of counts are looked for."""
    return Path(os.environ.get("STREAMSAMPLE_DATA", ROOT.parent / "shared" / "data"))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("single_cell", (1, 4096, 31_467), (-1.5, 1.5), (0.5, 1.0), must=20, goal=40),
        Workload("sparse", (1, 4096, 31_467), (-3.5, 1.5), (0.5, 1.0), must=30, goal=60),
        Workload("few_cells", (16, 96, 31_467), (-1.5, 1.5), (0.5, 1.0), must=12, goal=25),
        Workload("heavy_tail", (1, 4096, 8_000), (0.0, 1.5), (-3.0, 1.0), must=5, goal=12),
        Workload("deep", (1, 4096, 12_653), (2.0, 1.5), (1.0, 1.0), must=5, goal=12),
        Workload("bulk", (16, 96, 7_126), (6.0, 2.0), (3.0, 1.0), must=3, goal=6),
    )
}
REAL = {
    data.name: data
    for data in (
        RealData("sc_mixology", "sc_mixology.h5ad", "plate", 4),
        RealData("yeast48", "yeast48.h5ad", "condition", 16),
    )
}


def posterior_of(name: str, *, small: bool = False) -> Posterior:
    """Make or open the posterior of a workload.

    Parameters
    ----------
    name
        Key of `WORKLOADS` or `REAL`.
    small
        Whether a few thousand counts are enough, and nothing is to be fitted.

    Raises
    ------
    NotAtHandError
        If real data are not there.
    """
    if name in REAL:
        posterior = REAL[name].posterior(fit=not small)
        return _corner(posterior, SMALL) if small else posterior
    return WORKLOADS[name].posterior(SMALL if small else None)


def _corner(posterior: Posterior, shape: Shape) -> Posterior:
    """Take the first samples, cells and features."""
    nsamples, ncells, nfeatures = shape
    block, cells = posterior.read(np.arange(nsamples), np.arange(nfeatures)), posterior.cells
    return Posterior.from_arrays(
        block.mu, block.phi, block.alpha, size_factor=cells.size_factor[:ncells], group=cells.group[:ncells]
    )
