"""Whether two arrays of counts follow the same law, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from streamsample.posterior import Posterior

FALSE_ALARMS = 1e-4
"""Of one call of `check_agreement`, over all its comparisons."""


def law_means(posterior: Posterior) -> NDArray[np.float64]:
    """(S, N, T) means that a posterior stands for, before zero inflation."""
    block = posterior.read(np.arange(posterior.shape[0]))
    cells = posterior.cells
    means = block.mu[:, None] * block.alpha[:, cells.group] * cells.size_factor[:, None]
    if cells.design is None or block.beta is None:
        return means
    return np.asarray(means * np.exp(np.einsum("nk,skt->snt", cells.design.to_array(), block.beta)))


def check_agreement(ours: Any, theirs: Any, means: Any) -> None:
    """Compare means, variances and zero fractions of each feature.

    Both (S, N, T) are drawn with the same parameters, so that the difference of any statistic has mean 0 everywhere;
    `means` are what variances are taken around: about the means of the law.
    """
    nfeatures = means.shape[-1]
    statistics: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "mean": lambda y: y,
        "variance": lambda y: (y - means) ** 2,
        "zeros": lambda y: (y == 0).astype(float),
    }
    limit = stats.norm.isf(FALSE_ALARMS / 2 / (len(statistics) * nfeatures))
    for name, statistic in statistics.items():
        difference = statistic(np.asarray(ours, dtype=float)) - statistic(np.asarray(theirs, dtype=float))
        apart = difference.reshape(-1, nfeatures)
        z = apart.sum(axis=0) / np.sqrt(np.maximum((apart**2).sum(axis=0), 1e-300))
        assert (np.abs(z) < limit).all(), f"{name}: {z}"
