"""The start and the prior are read off the data."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from streamsample.fit.observations import Observations
from streamsample.fit.start import start_at
from tests.fit.simulate import Truth


def observations(truth: Truth) -> Observations:
    number = np.unique(truth.group, return_inverse=True)[1]
    return Observations(csr_matrix(truth.counts.astype(np.int32)), number, truth.sum_factor, 3, 0)


def test_values_are_those_of_plain_arithmetic(truth: Truth) -> None:
    start = start_at(observations(truth))
    normalised = truth.counts / truth.sum_factor[:, None]
    means = np.array([normalised[truth.group == name].mean(axis=0) for name in "abc"])
    np.testing.assert_allclose(start.mean, means[0])
    np.testing.assert_allclose(start.values["mu"], means[:1])
    np.testing.assert_allclose(start.values["log2_alpha"], np.log2(means[1:] / means[0]))


def test_the_start_is_near_the_truth(truth: Truth) -> None:
    o = start_at(observations(truth)).values["o"][0]
    assert np.corrcoef(np.log(o), np.log(truth.phi**-0.5))[0, 1] > 0.8
    assert abs(np.log(o**-2 / truth.phi).mean()) < 0.3


def test_the_prior_sd_is_robust_then_plain_then_a_tenth_of_the_mean() -> None:
    ncells = 400
    spread = np.arange(ncells) % 101  # median absolute deviation of about 25
    rare = (np.arange(ncells) < 8) * 30  # so many zeros that this deviation is 0
    level = np.full(ncells, 50)  # no deviation at all
    counts = csr_matrix(np.stack([spread, rare, level], axis=1).astype(np.int32))
    start = start_at(Observations(counts, np.zeros(ncells, dtype=np.int64), np.ones(ncells), 1, 0))
    mad = np.median(np.abs(spread - np.median(spread)))
    expected = [max(1.4826 * mad / 20, 0.1 * spread.mean()), rare.std() / 20, 0.1 * 50]
    np.testing.assert_allclose(start.sd, expected)
    assert rare.std() / 20 > 0.1 * rare.mean()


def test_one_group_has_no_alpha_to_start() -> None:
    counts = csr_matrix(np.array([[1, 2], [3, 1]], dtype=np.int32))
    start = start_at(Observations(counts, np.zeros(2, dtype=np.int64), np.ones(2), 1, 0))
    assert set(start.values) == set(start.scales) == {"beta_o", "o", "mu"}
