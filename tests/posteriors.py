"""Posteriors that several tests start from, as the arguments of `Posterior.from_arrays`."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsample.geometry import Shape
from streamsample.parameters import Names
from streamsample.posterior import Posterior


def arrays(shape: Shape, ngroups: int = 2, *, seed: int = 0, mean: float = 2.0) -> dict[str, Any]:
    """Random draws with means of some hundredths to some tens of `mean`, and cells of random depth and group.

    Feature 0 has mean 0, feature 1 is Poisson and cell 0 has size factor 0, where the axes are that long.
    """
    nsamples, ncells, nfeatures = shape
    rng = np.random.default_rng(seed)
    mu = mean * rng.lognormal(0.0, 1.0, (nsamples, nfeatures))
    phi = rng.lognormal(1.0, 1.5, (nsamples, nfeatures))
    size_factor = rng.lognormal(0.0, 0.4, ncells)
    if nfeatures > 2:
        mu[:, 0], phi[:, 1] = 0.0, np.inf
    if ncells > 1:
        size_factor[0] = 0.0
    return {
        "mu": mu,
        "phi": phi,
        "alpha": rng.lognormal(0.0, 0.5, (nsamples, ngroups, nfeatures)),
        "size_factor": size_factor,
        "group": rng.integers(0, ngroups, ncells),
    }


def names(shape: Shape, ngroups: int = 2) -> dict[str, Any]:
    """Names for each axis of `arrays`."""
    return {
        "cell_names": [f"cell{n}" for n in range(shape[1])],
        "feature_names": [f"gene{t}" for t in range(shape[2])],
        "group_names": [f"rep_{c}" for c in range(ngroups)],
    }


def listed(names: Names | None) -> list[str]:
    """Names that must be there, as a list."""
    assert names is not None
    return [str(name) for name in names]


def named_posterior(shape: Shape, ngroups: int = 2, *, seed: int = 0) -> Posterior:
    """A random posterior of the given ``(S, N, T)`` with names on every axis."""
    return Posterior.from_arrays(**arrays(shape, ngroups, seed=seed), **names(shape, ngroups))


def second(shape: Shape, ncovariates: int = 3, *, seed: int = 0, mean: float = 2.0) -> dict[str, Any]:
    """`arrays` of stream version 2: a design half of zeros, its coefficients, and zero inflation, 0 and 1 among it."""
    nsamples, ncells, nfeatures = shape
    rng = np.random.default_rng(seed + 1)
    design = rng.normal(size=(ncells, ncovariates)) * rng.integers(0, 2, (ncells, ncovariates))
    zero_inflation = rng.random((nsamples, nfeatures))
    zero_inflation[:, -1], zero_inflation[0, :2] = 0.0, 1.0
    return arrays(shape, seed=seed, mean=mean) | {
        "zero_inflation": zero_inflation,
        "beta": rng.normal(0.0, 0.5, (nsamples, ncovariates, nfeatures)),
        "design": design,
    }
