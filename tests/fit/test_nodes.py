"""A few nodes stand for many points, whatever the ratio."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma, gammaln

from streamsample.fit.nodes import Nodes, few_pairs, node_count


@pytest.mark.parametrize("spread", [0.02, 0.5, 1.5])
@pytest.mark.parametrize("ratio", [1e-6, 0.03, 1.0, 50.0, 1e8])
def test_sums_over_nodes_are_sums_over_points(spread: float, ratio: float) -> None:
    rng = np.random.default_rng(0)
    points, counts = rng.lognormal(0, spread, 2000), rng.poisson(3, 2000)
    nodes = Nodes.of(points)
    weights = nodes.weights(points)
    assert not nodes.exact
    assert nodes.at.size < 60
    assert points.min() < nodes.at.min() < nodes.at.max() < points.max()
    for function in (lambda x: np.log1p(ratio * x), lambda x: ratio * x / (1 + ratio * x)):
        for amount in (np.ones(2000), counts):
            expected = amount @ function(points)
            assert (weights @ amount) @ function(nodes.at) == pytest.approx(expected, rel=3e-12)


def test_a_part_of_the_points_has_the_nodes_of_all() -> None:
    points = np.random.default_rng(1).lognormal(0, 0.5, 500)
    nodes = Nodes.of(points)
    np.testing.assert_array_equal(nodes.weights(points[100:200]), nodes.weights(points)[:, 100:200])
    np.testing.assert_allclose(nodes.weights(points).sum(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("points", [[2.0], [3.0, 3.0, 3.0], [1.0, 5.0, 1.0, 0.01], [1.0, np.nextafter(1, 2)]])
def test_few_points_are_their_own_nodes(points: list[float]) -> None:
    nodes = Nodes.of(np.array(points))
    assert nodes.exact
    np.testing.assert_array_equal(nodes.at, np.unique(points))
    np.testing.assert_array_equal(nodes.at @ nodes.weights(np.array(points)), points)


def test_many_nearly_equal_points_need_few_nodes() -> None:
    points = 1 + 1e-12 * np.arange(1000)
    nodes = Nodes.of(points)
    assert nodes.at.size <= 3
    np.testing.assert_allclose(nodes.at @ nodes.weights(points), points, rtol=1e-14)


def test_each_group_has_its_own() -> None:
    points = np.random.default_rng(2).lognormal(0, 0.4, 300)
    group = np.arange(300) % 2
    assert node_count(points, group, 3) == sum(Nodes.of(points[group == c]).at.size for c in (0, 1))


@pytest.mark.parametrize("phi", [1e-3, 0.5, 20.0, 1e4])
def test_few_counts_stand_for_many_different_ones(phi: float) -> None:
    rng = np.random.default_rng(3)
    many, few = np.unique(rng.negative_binomial(3, 1e-4, 3000) + 1), np.arange(1, 6)
    feature = np.repeat([0, 2, 5], [few.size, many.size, few.size])
    value, repeats = np.concatenate([few, many, few]), rng.integers(1, 9, feature.size)
    found = few_pairs(feature, value, repeats)
    assert found[0].size < 60
    assert np.unique(found[0]).tolist() == [0, 2, 5]
    for function in (lambda y: gammaln(phi + y) - gammaln(phi), lambda y: digamma(phi + y) - digamma(phi)):
        sums = [np.bincount(t, weights=k * function(y)) for t, y, k in (found, (feature, value, repeats))]
        np.testing.assert_allclose(sums[0], sums[1], rtol=1e-11)
    assert value.dtype == feature.dtype == np.int64  # what was given is as it was
    assert (np.diff(value[feature == 2]) > 0).all()


def test_no_pairs_stay_none() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert [array.size for array in few_pairs(nothing, nothing, nothing)] == [0, 0, 0]
