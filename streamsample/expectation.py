"""What counts will be like, from a few draws of the parameters: how far they compress, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, xlogy

from streamsample.domain import MEAN_MAX
from streamsample.geometry import IndexArray, Selection
from streamsample.parameters import FloatArray, Parameters
from streamsample.posterior import Posterior
from streamsample.rates import DESIGN, seconds_per_count

CODED_OVER_ENTROPY = 1.3
"""Size of counts as stored over their entropy (0.18 over 0.142 bytes for single cells, docs/formats.md)."""

_LOOKS = 4, 4096  # samples and features that are looked at, in more cells if these are fewer: 0.02 bits of error
_MOST_VALUES = 2**23  # of parameters read for that
_POISSON_FROM = 1e8  # a total count from which on the difference is lost in rounding


@dataclass(frozen=True)
class CountFacts:
    """Averages over the counts of a stream; frozen."""

    mean: float
    """Mean count."""
    bits: float
    """Entropy of a count whose parameters are known: no code of single counts takes less."""
    seconds: float
    """Time that a thread needs to make one, by `streamsample.rates`."""
    why: str
    """Where these come from."""

    @property
    def encoded_nbytes(self) -> float:
        """Bytes that a count takes when it is compressed."""
        return CODED_OVER_ENTROPY * self.bits / 8

    @classmethod
    def of(cls, posterior: Posterior, selection: Selection) -> CountFacts:
        """Look at some samples, features and cells of a selection; always the same ones."""
        rng = np.random.default_rng(0)
        most_samples, most_features = _looks(posterior)
        samples = selection.samples[np.unique(np.linspace(0, selection.samples.size - 1, most_samples).astype(int))]
        features = selection.features
        if features.size > most_features:
            features = features[np.sort(rng.choice(features.size, most_features, replace=False))]
        block = posterior.read(samples, features)
        shape = block.mu.shape  # (s, t)
        ncells = min(selection.cells.size, max(1, math.prod(_LOOKS) // block.mu.size))
        cells = rng.choice(selection.cells, (ncells, *shape))  # (n, s, t)
        mean = _means(posterior, block, cells)
        y, inflation = _draw(mean, block.phi, rng), np.zeros(shape)
        if block.zero_inflation is not None:
            inflation = block.zero_inflation
            y = np.where(rng.random(mean.shape) < inflation, 0.0, y)
        bits = -_log_probability(y, mean, block.phi, inflation).mean() / np.log(2)
        looked = f"by {mean.size:,} counts looked at"
        average = float(((1 - inflation) * mean).mean())
        seconds = float(seconds_per_count(mean).mean()) * (DESIGN if posterior.cells.design is not None else 1.0)
        return cls(average, max(float(bits), 0.0), seconds, looked)


ASSUMED = CountFacts(
    0.76, 8 * 0.142, float(seconds_per_count(np.array([0.76]))[0]), "assumed: single cells of mean 0.76"
)
"""Where there is no posterior to look at: a million counts measured (docs/benchmarks.md)."""


def _draw(mean: FloatArray, phi: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw negative binomial counts; to average over, not those of the stream."""
    few = np.minimum(phi, _POISSON_FROM)
    return rng.poisson(np.where(phi < _POISSON_FROM, mean * rng.gamma(few) / few, mean)).astype(np.float64)


def _log_probability(y: FloatArray, mean: FloatArray, phi: FloatArray, inflation: FloatArray) -> FloatArray:
    """Log-probability of negative binomial counts, some of them made zero; Poisson from a total count of 1e8."""
    few = np.minimum(phi, _POISSON_FROM)
    binomial = gammaln(few + y) - gammaln(few) - few * np.log1p(mean / few) + xlogy(y, mean / (mean + few))
    logs = np.where(phi < _POISSON_FROM, binomial, xlogy(y, mean) - mean) - gammaln(y + 1)
    with np.errstate(divide="ignore"):  # no inflation, or nothing else
        return np.asarray(
            np.where(y > 0, np.log1p(-inflation) + logs, np.log(inflation + (1 - inflation) * np.exp(logs)))
        )


def _looks(posterior: Posterior) -> tuple[int, int]:
    """Samples and features to look at: fewer where their coefficients of many covariates would fill the memory."""
    samples, features = _LOOKS
    nblocks = posterior.facts.nblocks
    samples = min(samples, max(1, _MOST_VALUES // (nblocks * posterior.facts.nfeatures)))
    return samples, min(features, max(1, _MOST_VALUES // (nblocks * samples)))


def _means(posterior: Posterior, block: Parameters, cells: IndexArray) -> FloatArray:
    """Means of cells (n, s, t), each at a sample and a feature of the block."""
    of, (_, nsamples, nfeatures) = posterior.cells, cells.shape
    sample, feature = np.arange(nsamples)[:, None], np.arange(nfeatures)
    mean = block.mu * block.alpha[sample, of.group[cells], feature] * of.size_factor[cells]
    if of.design is None or block.beta is None:
        return np.asarray(mean)
    indptr, covariate, value = of.design.take(cells.ravel()).rows()
    at = np.repeat(np.arange(cells.size), np.diff(indptr))
    _, s, t = np.unravel_index(at, cells.shape)
    eta = np.bincount(at, value * block.beta[s, covariate, t], minlength=cells.size).reshape(cells.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # what is outside the domain is told when it is met
        return np.asarray(np.fmin(mean * np.exp(eta), MEAN_MAX))
