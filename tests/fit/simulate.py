"""Counts made from known parameters of the technical model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsample.fit.technical import TechnicalModel


@dataclass(frozen=True)
class Truth:
    counts: NDArray[np.int64]  # (N, T)
    group: NDArray[np.str_]  # (N,)
    sum_factor: NDArray[np.float64]  # (N,)
    mu: NDArray[np.float64]  # (T,)
    alpha: NDArray[np.float64]  # (C, T), ones in group 0
    phi: NDArray[np.float64]  # (T,)

    def model(self) -> TechnicalModel:
        return TechnicalModel.from_arrays(self.counts, self.group, sum_factor=self.sum_factor)


def simulate(seed: int = 0, ncells: int = 600, nfeatures: int = 60) -> Truth:
    """Three groups, of which the first, "a", is the largest; the means span two orders of magnitude."""
    rng = np.random.default_rng(seed)
    number = np.sort(rng.choice(3, size=ncells, p=[0.4, 0.3, 0.3]))
    mu = np.exp(rng.uniform(np.log(0.5), np.log(50), nfeatures))
    alpha = np.concatenate([np.ones((1, nfeatures)), 2 ** rng.normal(0, 0.7, (2, nfeatures))])
    phi = np.exp(rng.uniform(np.log(0.8), np.log(10), nfeatures))
    sum_factor = rng.lognormal(0, 0.3, ncells)
    mean = mu * alpha[number] * sum_factor[:, None]
    counts = rng.negative_binomial(phi, phi / (phi + mean))
    return Truth(counts, np.array(["a", "b", "c"])[number], sum_factor, mu, alpha, phi)
