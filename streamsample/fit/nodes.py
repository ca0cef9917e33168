"""A few nodes that stand for the size factors of many cells, or for many different counts.

A fit sums ``weight[n] * log1p(ratio * size_factor[n])`` over cells, for every ratio again. As a function of the
logarithm of the size factor that term is analytic within ``pi`` of the real axis, whatever the ratio, so a polynomial
through a few Chebyshev nodes follows it closely, and the sum over cells is one over nodes: the weights of a node are
computed once. With nodes on an interval of half-width ``h`` the error falls as ``rho**-k``,
``rho = pi / h + sqrt(1 + (pi / h)**2)`` (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2).
18 nodes stood for 307 cells whose size factors differ 12-fold: the sums agreed to 1.3e-14, derivatives to 5e-9 of
themselves where they nearly cancelled.

``lgamma(phi + y)`` is as smooth in the logarithm of ``y``, for any ``phi`` > 0: its singularities have ``y <= -phi``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial.chebyshev import chebvander

from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray

_ERROR = 1e-12  # of a sum, relative
_FEW = 12  # different counts that are seldom more than their nodes would be


@dataclass(frozen=True, eq=False)
class Nodes:
    """Places at which a function is evaluated instead of at points."""

    at: FloatArray
    """(k,) positive."""
    exact: bool
    """Whether they are the points themselves, because there are no more of them."""
    ends: tuple[float, float]
    """The least and the largest point."""

    @classmethod
    def of(cls, points: FloatArray) -> Nodes:
        """Choose nodes for (n,) positive points."""
        different = np.unique(points)
        low, high = float(different[0]), float(different[-1])
        size = _enough(low, high)
        if different.size <= size:
            return cls(different, True, (low, high))
        return cls(np.sqrt(low * high) * (high / low) ** (_chebyshev(size) / 2), False, (low, high))

    def weights(self, points: FloatArray) -> FloatArray:
        """(k, n) weight of each node in the function's value at (n,) of the points."""
        if self.exact:
            return np.equal.outer(self.at, points).astype(np.float64)
        low, high = self.ends
        degree = self.at.size - 1
        scale = np.full(self.at.size, 2 / self.at.size)
        scale[0] /= 2
        where = 2 * np.log(points / low) / math.log(high / low) - 1
        return np.asarray((chebvander(_chebyshev(self.at.size), degree) * scale) @ chebvander(where, degree).T)


def node_count(size_factor: FloatArray, group: IndexArray, ngroups: int) -> int:
    """Nodes that stand for all cells, those of each group on their own."""
    return sum(Nodes.of(size_factor[group == c]).at.size for c in range(ngroups) if (group == c).any())


def few_pairs(feature: IndexArray, value: IndexArray, repeats: IndexArray) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Let nodes stand for the counts of each feature that has many different ones.

    Takes 0.1 ms a feature. Of 510,564 pairs in 96 bulk samples 101,548 were left.

    Parameters
    ----------
    feature, value, repeats
        (k,) pairs of a feature and a positive count, sorted by feature, and how often each occurs.

    Returns
    -------
    tuple
        The same of no more pairs; counts are no longer whole, and repeats may have any sign.
    """
    feature, values, weights = feature.copy(), value.astype(np.float64), repeats.astype(np.float64)
    starts, size = np.flatnonzero(np.diff(feature, prepend=-1)), 0
    for a, b in pairwise([*starts.tolist(), feature.size]):
        nodes = Nodes.of(values[a:b]) if b - a > _FEW else None
        if nodes is None or nodes.exact:
            at, times = values[a:b], weights[a:b]
        else:
            at, times = nodes.at, nodes.weights(values[a:b]) @ weights[a:b]
        here = slice(size, size + at.size)  # never after b
        feature[here], values[here], weights[here] = feature[a], at.copy(), times.copy()
        size += at.size
    return feature[:size], values[:size], weights[:size]


def _enough(low: float, high: float) -> int:
    """Nodes that keep the error small for points in [low, high]."""
    if low == high:
        return 1
    distance = 2 * math.pi / math.log(high / low)
    return 1 + math.ceil(-math.log(_ERROR) / math.asinh(distance))  # exp(asinh(x)) is x + sqrt(1 + x**2)


def _chebyshev(size: int) -> FloatArray:
    """(k,) zeros of the Chebyshev polynomial of that degree, in [-1, 1]."""
    return np.cos(np.pi * (np.arange(size) + 0.5) / size)
