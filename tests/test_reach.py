"""Bounds of linear predictors: never below any cell's, and near the largest where that is promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from streamsample.designs import Design
from streamsample.parameters import FloatArray
from streamsample.reach import MOST_CLUSTERS, bound, reach_of

RNG = np.random.default_rng(0)
N = 2000


def one_hot(ncolumns: int) -> FloatArray:
    return np.asarray(np.eye(ncolumns)[RNG.integers(0, ncolumns, N)], dtype=np.float64)


CONTINUOUS = RNG.normal(size=(N, 4)) @ RNG.normal(size=(4, 4)) + 3
GUIDES = sparse.csr_matrix(one_hot(300))
MANY = sparse.random(N, 200, density=0.05, random_state=1, data_rvs=lambda size: RNG.normal(size=size)).tocsr()

DESIGNS: dict[str, Any] = {
    "intercept": np.ones((N, 1)),
    "batches": np.hstack([np.ones((N, 1)), one_hot(6)[:, 1:]]),
    "continuous": CONTINUOUS,
    "both": np.hstack([one_hot(5), CONTINUOUS]),
    "collinear": np.hstack([CONTINUOUS, CONTINUOUS[:, :2], CONTINUOUS.sum(axis=1, keepdims=True)]),
    "one cell": CONTINUOUS[:1],
    "outlier": np.vstack([CONTINUOUS, 1e3 * CONTINUOUS[:1]]),
    "more patterns than clusters": RNG.integers(0, 3, (N, 7)).astype(np.float64),
    "a guide a cell": GUIDES,
    "guides of random values": MANY,
    "sparse and empty": sparse.csr_matrix((N, 100)),
}
EXACT = "intercept", "batches", "one cell", "a guide a cell", "sparse and empty"


def truth(design: Any, factor: FloatArray, beta: FloatArray) -> FloatArray:
    rows = design.toarray() if sparse.issparse(design) else design
    with np.errstate(divide="ignore"):
        return np.stack([(rows @ block + np.log(factor)[:, None]).max(axis=0) for block in beta])


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("factors", ["ones", "random"])
def test_no_cell_is_above_the_bound(name: str, factors: str) -> None:
    design = DESIGNS[name]
    rng = np.random.default_rng(1)
    factor = np.ones(design.shape[0]) if factors == "ones" else rng.lognormal(0, 0.5, design.shape[0])
    factor[: design.shape[0] // 10] = 0.0
    beta = rng.normal(0, 0.5, (3, design.shape[1], 40))
    found = bound(reach_of(Design.of(design), factor), beta)
    true = truth(design, factor, beta)
    assert (found >= true).all()
    if name in EXACT and factors == "ones":
        np.testing.assert_allclose(found, true, atol=2e-6)


def test_the_ellipsoid_is_narrower_than_a_box() -> None:
    rng = np.random.default_rng(2)
    rows, beta = rng.normal(size=(20_000, 6)), rng.normal(0, 0.3, (5, 6, 40))
    found = bound(reach_of(Design.of(rows), np.ones(len(rows))), beta)
    parts = [np.maximum(block * rows.max(axis=0)[:, None], block * rows.min(axis=0)[:, None]) for block in beta]
    true, box = truth(rows, np.ones(len(rows)), beta), np.stack([part.sum(axis=0) for part in parts])
    assert (found - true).mean() < 1.5
    assert (box - true).mean() > 2.5


def test_few_covariates_a_cell_count_only_as_many() -> None:
    reach = reach_of(Design.of(MANY), np.ones(N))
    beta = np.ones((1, 200, 1))
    most, upper = int(np.diff(MANY.indptr).max()), MANY.max(axis=0).toarray().ravel()
    assert bound(reach, beta)[0, 0] == pytest.approx(np.sort(upper)[-most:].sum(), abs=2e-6)
    assert most < 50


def test_predictors_beyond_all_bounds_are_infinite_not_missing() -> None:
    design = Design.of(np.hstack([CONTINUOUS, -CONTINUOUS]))
    with np.errstate(over="ignore", invalid="ignore"):
        found = bound(reach_of(design, np.ones(N)), np.full((1, 8, 2), 1e308))
    assert np.isposinf(found).all()


def test_the_number_of_clusters_is_limited() -> None:
    design = Design.of(DESIGNS["more patterns than clusters"])
    reach: Any = reach_of(design, np.ones(N))
    assert 1 < len(reach.centres) <= MOST_CLUSTERS
    assert reach.free.size > 0
