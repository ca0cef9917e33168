"""Where a fit starts, and the prior of mu: both are read off the data.

From Pyro's own start a thousand steps were not enough; from here 300 to 400 are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsample.fit.observations import Observations
from streamsample.geometry import minibatches
from streamsample.parameters import FloatArray

LOG2_ALPHA_SCALE = 20.0  # of the StudentT prior with 3 degrees of freedom
BETA_SHAPE, BETA_RATE = 9.0, 3.0  # of the Gamma prior of beta_o
_MAD_TO_SD = 1.4826  # of a normal distribution
_LEAST_RELATIVE_SD = 0.1
_LEAST_DISPERSION, _MOST_DISPERSION = 0.01, 100.0  # 1 / phi = o**2, where a moment estimate makes sense
_BLOCK_ELEMENTS = 2**22


@dataclass(frozen=True, eq=False)
class Start:
    """Prior of ``mu``, and a normal approximation of the posterior at which the guide starts."""

    mean: FloatArray
    """(T,) prior mean of mu: the reference group's mean of size-normalised counts."""
    sd: FloatArray
    """(T,) prior standard deviation of mu: a robust one of that mean."""
    values: dict[str, FloatArray]
    """Of each latent site, in its shape, the value to start at."""
    scales: dict[str, FloatArray]
    """Of each latent site, the standard deviation to start with, of its logarithm if it is positive."""


def start_at(data: Observations) -> Start:
    """Read the start off the data: moments for the values, Fisher information for the scales."""
    means = data.group_sums(1 / data.size_factor) / np.bincount(data.group, minlength=data.ngroups)[:, None]  # (C, T)
    mean = means[data.reference]
    sd = _prior_sd(data, mean)
    squared = _squared_means(data, means)
    o = np.sqrt(_dispersion(data, means, squared))
    others = data.other_groups()
    about_mean, about_o = _information(data, means, o**-2)
    values = {
        "beta_o": np.asarray((BETA_SHAPE + o.size) / (BETA_RATE + o.sum())),
        "o": o[None],
        "mu": mean[None],
        "log2_alpha": np.log2(means[others] / mean),
    }
    scales = {
        "beta_o": np.asarray((BETA_SHAPE + o.size) ** -0.5),
        "o": (2 * about_o[None] + 1) ** -0.5,
        "mu": (about_mean.sum(axis=0, keepdims=True) + (mean / sd) ** 2) ** -0.5,
        "log2_alpha": (about_mean[others] * np.log(2) ** 2 + LOG2_ALPHA_SCALE**-2) ** -0.5,
    }
    if not others.size:
        del values["log2_alpha"], scales["log2_alpha"]
    return Start(mean, sd, values, scales)


def _prior_sd(data: Observations, mean: FloatArray) -> FloatArray:
    """(T,) robust standard deviation of the reference group's mean, at least 10 % of it."""
    rows = np.flatnonzero(data.group == data.reference)
    counts, factors = data.counts[rows].T.tocsr(), data.size_factor[rows]  # (T, n): medians run along memory
    sd = np.empty(mean.size)
    step = max(1, _BLOCK_ELEMENTS // rows.size)
    for t in range(0, mean.size, step):
        normalised = counts[t : t + step].toarray() / factors  # (t, n)
        mad = np.median(np.abs(normalised - np.median(normalised, axis=1, keepdims=True)), axis=1)
        sd[t : t + step] = np.where(mad > 0, _MAD_TO_SD * mad, normalised.std(axis=1))
    return np.asarray(np.maximum(sd / np.sqrt(rows.size), _LEAST_RELATIVE_SD * mean))


def _squared_means(data: Observations, means: FloatArray) -> FloatArray:
    """(T,) sum over cells of the squared expected counts."""
    squares = np.bincount(data.group, weights=data.size_factor**2, minlength=data.ngroups)
    return np.asarray(squares @ means**2)


def _dispersion(data: Observations, means: FloatArray, squared: FloatArray) -> FloatArray:
    """(T,) moment estimate of ``1 / phi``: what the variance has beyond the mean, over the squared mean."""
    second = _sums_of_squares(data)
    crossed = (means * data.group_sums(data.size_factor)).sum(axis=0)
    expected = np.bincount(data.group, weights=data.size_factor, minlength=data.ngroups) @ means
    excess = second - 2 * crossed + squared - expected
    return np.asarray(np.clip(excess / squared, _LEAST_DISPERSION, _MOST_DISPERSION))


def _sums_of_squares(data: Observations) -> FloatArray:
    """(T,) sum over cells of the squared counts; a part of them at a time, for they are squared as float64."""
    counts, sums = data.counts, np.zeros(data.shape[1])
    for a, b in minibatches(counts.nnz, _BLOCK_ELEMENTS):
        squares = counts.data[a:b].astype(np.float64) ** 2
        sums += np.bincount(counts.indices[a:b], weights=squares, minlength=sums.size)
    return sums


def _information(data: Observations, means: FloatArray, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(C, T) information about each group's log mean, and (T,) about ``log phi``, roughly.

    The first is exact for a negative binomial, summed over cells as if all had the group's mean size factor: within a
    few per cent of the fitted scales on the data tried. The second is of the right order.
    """
    ncells = np.bincount(data.group, minlength=data.ngroups)[:, None]
    factor = np.bincount(data.group, weights=data.size_factor, minlength=data.ngroups)[:, None] / ncells
    expected = means * factor
    about_mean = ncells * expected / (1 + expected / phi)
    about_phi = ncells * (expected / (expected + phi)) ** 2
    return about_mean, about_phi.sum(axis=0)
