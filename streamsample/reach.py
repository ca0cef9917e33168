"""How far the linear predictors of a design reach: bounds of the means without going through every cell.

A dense design is cut into clusters of cells that agree in all columns of a few values (batches, conditions). Within
one, the other columns lie in an ellipsoid around its centre c: with C = L L' their covariance and R the largest
distance ``|inv(L) (x - c)|`` of a cell, ``x b <= c b + R |L' b|`` (Cauchy and Schwarz). A box's corner is where no cell
is: for six normal columns, 10^5 cells and coefficients of 0.3 a box is too large by a factor of e**3.2 on average, the
ellipsoid by e**1.1.

A sparse design takes every different row as it is where there are few, as with one guide a cell. Otherwise a cell has
at most so many covariates, of which the largest products count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamsample.designs import Design
from streamsample.geometry import IndexArray, minibatches
from streamsample.parameters import FloatArray

MOST_CLUSTERS = 256
_FEW_VALUES = 16  # of a column by which cells are put into clusters
_LOOKED_AT = 4096  # cells, before all values of a column are sorted
_CELLS_AT_ONCE = 2**16
_VALUES_AT_ONCE = 2**19  # of clusters by draws
_RIDGE = 1e-9, 1e-200  # relative and absolute: columns that follow from others keep C invertible
_SLACK = 1e-6  # of a logarithm, far above what rounding adds


class Reach(Protocol):
    """Bounds of ``eta + log(size factor)`` over some cells."""

    def largest(self, beta: FloatArray) -> FloatArray:
        """Bound it for each of the coefficients (K, j): (j,)."""


def reach_of(design: Design, size_factor: FloatArray) -> Reach:
    """Prepare the bound for some cells, at least one: their rows (n, K) and size factors (n,)."""
    with np.errstate(divide="ignore"):  # a size factor of 0 gives means of 0
        log_factor = np.log(size_factor)
    if design.dense is not None:
        return _Ellipsoids.of(design.dense, log_factor)
    return _Rows.of(design, log_factor) or _Largest.of(design, log_factor)


def bound(reach: Reach, beta: FloatArray) -> FloatArray:
    """Bound ``eta + log(size factor)`` for coefficients (s, K, t): (s, t)."""
    nsamples, ncovariates, nfeatures = beta.shape
    found = np.empty((nsamples, nfeatures))
    step = max(1, _VALUES_AT_ONCE // max(ncovariates, MOST_CLUSTERS))
    with np.errstate(over="ignore", invalid="ignore"):
        for s in range(nsamples):
            for t0, t1 in minibatches(nfeatures, step):
                found[s, t0:t1] = reach.largest(beta[s, :, t0:t1])
    return np.where(np.isnan(found), np.inf, found + _SLACK)


@dataclass(frozen=True)
class _Ellipsoids:
    """Clusters of cells of a dense design."""

    centres: FloatArray  # (B, K)
    radius: FloatArray  # (B,)
    log_factor: FloatArray  # (B,) of the largest size factor
    free: IndexArray  # columns that differ within a cluster
    root: FloatArray  # L of these

    @classmethod
    def of(cls, rows: FloatArray, log_factor: FloatArray) -> _Ellipsoids:
        cluster, fixed = _clusters(rows)
        free = np.flatnonzero(~fixed)
        first = np.unique(cluster, return_index=True)[1]
        sizes = np.bincount(cluster)
        centres = rows[first]
        for k in free:
            centres[:, k] = np.bincount(cluster, rows[:, k]) / sizes
        pieces = list(minibatches(len(rows), _CELLS_AT_ONCE))
        covariance = np.zeros((free.size, free.size))
        for n0, n1 in pieces:
            apart = (rows[n0:n1] - centres[cluster[n0:n1]])[:, free]
            covariance += apart.T @ apart / len(rows)
        relative, absolute = _RIDGE
        ridge = relative * np.diag(covariance) + absolute
        root = np.asarray(np.linalg.cholesky(covariance + np.diag(ridge)), dtype=np.float64)
        radius, largest = np.zeros(sizes.size), np.full(sizes.size, -np.inf)
        np.maximum.at(largest, cluster, log_factor)
        for n0, n1 in pieces:
            apart = (rows[n0:n1] - centres[cluster[n0:n1]])[:, free]
            distance = np.sqrt((np.linalg.solve(root, apart.T) ** 2).sum(axis=0))
            np.maximum.at(radius, cluster[n0:n1], distance)
        return cls(centres, radius, largest, free, root)

    def largest(self, beta: FloatArray) -> FloatArray:
        spread = np.sqrt(((self.root.T @ beta[self.free]) ** 2).sum(axis=0))
        every = self.centres @ beta + self.radius[:, None] * spread + self.log_factor[:, None]
        return np.asarray(every.max(axis=0))


@dataclass(frozen=True)
class _Rows:
    """The different rows of a sparse design, each as it is."""

    rows: Design
    log_factor: FloatArray

    @classmethod
    def of(cls, design: Design, log_factor: FloatArray) -> _Rows | None:
        """None where there are too many."""
        indptr, indices, data = design.rows()
        row = np.repeat(np.arange(design.shape[0]), np.diff(indptr))
        # Rows are told apart by two random sums of their values, added in the order of the columns.
        weights = np.random.default_rng(0).random((2, design.shape[1]))
        sums = [np.bincount(row, data * weight[indices], minlength=design.shape[0]) for weight in weights]
        _, first, number = np.unique(sums[0] + 1j * sums[1], return_index=True, return_inverse=True)
        if first.size > max(MOST_CLUSTERS, 2 * design.shape[1]):
            return None
        largest = np.full(first.size, -np.inf)
        np.maximum.at(largest, number, log_factor)
        return cls(design.take(first), largest)

    def largest(self, beta: FloatArray) -> FloatArray:
        from scipy import sparse

        rows = sparse.csr_matrix((self.rows.data, self.rows.indices, self.rows.indptr), shape=self.rows.shape)
        return np.asarray((rows @ beta + self.log_factor[:, None]).max(axis=0))


@dataclass(frozen=True)
class _Largest:
    """Range of each column of a sparse design, and how many covariates a cell has at most."""

    lower: FloatArray  # (K,), at most 0
    upper: FloatArray  # (K,), at least 0
    most: int
    log_factor: float

    @classmethod
    def of(cls, design: Design, log_factor: FloatArray) -> _Largest:
        indptr, indices, data = design.rows()
        lower, upper = np.zeros((2, design.shape[1]))
        np.minimum.at(lower, indices, data)
        np.maximum.at(upper, indices, data)
        return cls(lower, upper, int(np.diff(indptr).max()), float(log_factor.max()))

    def largest(self, beta: FloatArray) -> FloatArray:
        products = np.maximum(beta * self.lower[:, None], beta * self.upper[:, None])
        if self.most < len(products):
            products = np.partition(products, len(products) - self.most, axis=0)[len(products) - self.most :]
        return np.asarray(products.sum(axis=0) + self.log_factor)


def _clusters(rows: FloatArray) -> tuple[IndexArray, NDArray[np.bool_]]:
    """Cluster of each cell (n,), and the columns (K,) in which the cells of a cluster agree."""
    cluster = np.zeros(len(rows), dtype=np.int64)
    fixed = np.zeros(rows.shape[1], dtype=bool)
    for k, column in enumerate(rows.T):
        if np.unique(column[:_LOOKED_AT]).size > _FEW_VALUES:
            continue
        values, number = np.unique(column, return_inverse=True)
        different, finer = np.unique(cluster * values.size + number, return_inverse=True)
        if different.size <= MOST_CLUSTERS:
            cluster, fixed[k] = finer, True
    return cluster, fixed
