"""What counts will be like, from a few draws of the parameters: how far they compress, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, xlogy

from streamsample.geometry import Selection
from streamsample.parameters import FloatArray
from streamsample.posterior import Posterior
from streamsample.rates import seconds_per_count

CODED_OVER_ENTROPY = 1.3
"""Size of counts as stored over their entropy (0.18 over 0.142 bytes for single cells, docs/formats.md)."""

_LOOKS = 4, 4096  # samples and features that are looked at, in more cells if these are fewer: 0.02 bits of error
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
        most_samples, most_features = _LOOKS
        samples = selection.samples[np.unique(np.linspace(0, selection.samples.size - 1, most_samples).astype(int))]
        features = selection.features
        if features.size > most_features:
            features = features[np.sort(rng.choice(features.size, most_features, replace=False))]
        block = posterior.read(samples, features)
        shape = block.mu.shape  # (s, t)
        ncells = min(selection.cells.size, max(1, most_samples * most_features // block.mu.size))
        cells = rng.choice(selection.cells, (ncells, *shape))  # (n, s, t)
        group = posterior.cells.group[cells]
        alpha = block.alpha[np.arange(shape[0])[:, None], group, np.arange(shape[1])]
        mean = block.mu * alpha * posterior.cells.size_factor[cells]
        bits = -_log_probability(_draw(mean, block.phi, rng), mean, block.phi).mean() / np.log(2)
        looked = f"by {mean.size:,} counts looked at"
        return cls(float(mean.mean()), max(float(bits), 0.0), float(seconds_per_count(mean).mean()), looked)


ASSUMED = CountFacts(
    0.76, 8 * 0.142, float(seconds_per_count(np.array([0.76]))[0]), "assumed: single cells of mean 0.76"
)
"""Where there is no posterior to look at: a million counts measured (docs/benchmarks.md)."""


def _draw(mean: FloatArray, phi: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw negative binomial counts; to average over, not those of the stream."""
    few = np.minimum(phi, _POISSON_FROM)
    return rng.poisson(np.where(phi < _POISSON_FROM, mean * rng.gamma(few) / few, mean)).astype(np.float64)


def _log_probability(y: FloatArray, mean: FloatArray, phi: FloatArray) -> FloatArray:
    """Log-probability of negative binomial counts; Poisson from a total count of 1e8."""
    few = np.minimum(phi, _POISSON_FROM)
    binomial = gammaln(few + y) - gammaln(few) - few * np.log1p(mean / few) + xlogy(y, mean / (mean + few))
    return np.asarray(np.where(phi < _POISSON_FROM, binomial, xlogy(y, mean) - mean) - gammaln(y + 1))
