"""The likelihood of some cells in the place of all, where all of them together take too much memory."""

from __future__ import annotations

import numpy as np
import pyro
import torch

from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.nodes import node_count
from streamsample.fit.observations import Observations
from streamsample.geometry import IndexArray

CELL_PLATE = "cell"


def likelihood(
    data: Observations, device: torch.device, ncells: int, cpus: int = 1
) -> CountLikelihood | SampledLikelihood:
    """Return the likelihood of all counts, or its estimate from `ncells` cells if these are fewer."""
    if ncells < data.shape[0]:
        return SampledLikelihood(data, device, ncells, cpus)
    return CountLikelihood(data, device, cpus)


class SampledLikelihood:
    """An estimate of the log-likelihood of all counts from some of the cells, others each time it is called.

    The cells are those of Pyro's plate, drawn without replacement and each as likely as any other, so the estimate, and
    with it the gradient, is that of all cells in the mean.

    Parameters
    ----------
    data
        The counts of all cells; they stay sparse.
    device
        Where torch computes.
    ncells
        Cells in each estimate.
    cpus
        Threads that torch may use at most.
    """

    def __init__(self, data: Observations, device: torch.device, ncells: int, cpus: int = 1) -> None:
        self.data, self.device, self.ncells, self.cpus = data, device, ncells, cpus
        nodes = min(ncells, node_count(data.size_factor, data.group, data.ngroups))
        self.threads = CountLikelihood.threads_worth(nodes * data.shape[1], cpus)

    def __call__(self, base: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        """Estimate the log-probability of all counts; see `CountLikelihood`, whose arguments it takes."""
        size = self.data.shape[0]
        chosen = pyro.plate(CELL_PLATE, size, subsample_size=self.ncells).indices
        # A plate scales a site that has a value for each cell. This one is their sum, so it is scaled here.
        return self.of_cells(base, phi, chosen.cpu().numpy()) * (size / self.ncells)

    def of_cells(self, base: torch.Tensor, phi: torch.Tensor, cells: IndexArray) -> torch.Tensor:
        """Log-probability of the counts of the given cells."""
        return CountLikelihood(self.data.of_cells(np.sort(cells)), self.device, self.cpus, once=True)(base, phi)
