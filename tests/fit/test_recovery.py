"""What was put into simulated counts comes out of the fit.

Everything runs at fixed seeds, so a failure is a change of the code. Five seeds of the simulation gave correlations of
0.999 (log mu), 0.979 to 0.987 (log alpha) and 0.87 to 0.99 (log phi, of which counts near 1 say little); 90 % intervals
held the truth in 65 to 77 % (mu), 73 to 78 % (alpha), 85 to 93 % (phi) and 90 to 97 % (mu * alpha).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsample.fit.technical import TechnicalModel
from streamsample.posterior import Posterior
from tests.fit.simulate import Truth

Fit = tuple[TechnicalModel, Posterior]


def read(posterior: Posterior) -> tuple[NDArray[np.float64], ...]:
    block = posterior.read(np.arange(posterior.shape[0]))
    return block.mu, block.phi, block.alpha


def correlation(draws: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.corrcoef(np.log(draws).mean(axis=0).ravel(), np.log(truth).ravel())[0, 1])


def coverage(draws: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(((low <= truth) & (truth <= high)).mean())


def test_the_posterior_follows_the_truth(fit: Fit, truth: Truth) -> None:
    mu, phi, alpha = read(fit[1])
    assert correlation(mu, truth.mu) > 0.99
    assert correlation(alpha[:, 1:], truth.alpha[1:]) > 0.96
    assert correlation(phi, truth.phi) > 0.93


def test_there_is_no_bias(fit: Fit, truth: Truth) -> None:
    mu, phi, alpha = read(fit[1])
    assert abs(np.log(mu / truth.mu).mean()) < 0.05
    assert abs(np.log(alpha[:, 1:] / truth.alpha[1:]).mean()) < 0.05
    assert abs(np.log(phi / truth.phi).mean()) < 0.1


def test_intervals_of_90_percent_hold_the_truth(fit: Fit, truth: Truth) -> None:
    # The guide has independent normals, which are too narrow for mu and alpha, since these are correlated, and too wide
    # for their product, a group's mean.
    mu, phi, alpha = read(fit[1])
    assert coverage(phi, truth.phi) > 0.78
    assert coverage(mu, truth.mu) > 0.55
    assert coverage(alpha[:, 1:], truth.alpha[1:]) > 0.65
    assert coverage((mu[:, None] * alpha)[:, 1:], truth.mu * truth.alpha[1:]) > 0.88


def test_the_reference_is_exactly_one_and_no_group_is_swapped(fit: Fit, truth: Truth) -> None:
    _, _, alpha = read(fit[1])
    assert (alpha[:, 0] == 1).all()
    logs = np.log(alpha).mean(axis=0)
    right = np.abs(logs[1:] - np.log(truth.alpha[1:])).mean()
    swapped = np.abs(logs[1:] - np.log(truth.alpha[:0:-1])).mean()
    assert right < swapped / 4


def test_another_reference_gives_the_same_means(truth: Truth) -> None:
    model = TechnicalModel.from_arrays(truth.counts, truth.group, sum_factor=truth.sum_factor, reference="c")
    mu, _, alpha = read(model.fit_technical(nsamples=200, tolerance=0, niters=200))
    assert (alpha[:, 2] == 1).all()
    means = np.log(mu[:, None] * alpha).mean(axis=0)
    assert np.abs(means - np.log(truth.mu * truth.alpha)).mean() < 0.15


def test_one_group_alone(truth: Truth) -> None:
    inside = truth.group == "a"
    model = TechnicalModel.from_arrays(truth.counts[inside], sum_factor=truth.sum_factor[inside])
    posterior = model.fit_technical(nsamples=100, niters=150)
    mu, _, alpha = read(posterior)
    assert alpha.shape == (100, 1, truth.mu.size)
    assert (alpha == 1).all()
    assert correlation(mu, truth.mu) > 0.99
