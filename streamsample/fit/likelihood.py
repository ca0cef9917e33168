r"""The log-likelihood of negative-binomial counts, at a cost that does not grow with the cells.

Written out, the log-probability of all counts is a sum of terms of which only one needs every cell and feature:

.. math::
    \sum_{t,y} k_{ty} [\ln\Gamma(\phi_t + y) - \ln\Gamma(\phi_t) - \ln y!]
    + \sum_{c,t} Y_{ct} \ln b_{ct} - \sum_t Y_t \ln\phi_t + \sum_n Y_n \ln f_n
    - \sum_{n,t} (\phi_t + y_{nt}) \ln(1 + b_{ct} f_n / \phi_t)

with ``b = mu * alpha``, size factors ``f``, sums of counts ``Y``, and ``k`` the number of cells in which feature ``t``
has the count ``y``: real counts repeat, so there are few such pairs (2,211 among 713,414 counts of the demo), and their
terms can have float64, which large ``phi`` needs. Where a feature has many, a few nodes stand for them, and in the last
sum for the cells of a group (`streamsample.fit.nodes`): node ``j`` with weight ``w_jn`` in cell ``n`` has the share
``sum_n w_jn`` of the cells and ``sum_n w_jn y_nt`` of the counts, found once. So a step has some 18 rows a group, all
in float64, and makes the derivatives along with the value. `benchmarks/bench_fit.py` compares it with
``NegativeBinomial.log_prob`` under autograd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

from streamsample.fit.memory import FIT_BLOCK, SORTED_COUNTS
from streamsample.fit.nodes import Nodes, few_pairs
from streamsample.fit.observations import Observations
from streamsample.geometry import IndexArray, minibatches
from streamsample.parameters import FloatArray

_PAIRS = 2**16  # pairs in work at a time
_THREAD_ELEMENTS = 2**23  # a further thread for every so many counts; for fewer, waiting for it costs what it gains


@dataclass(frozen=True)
class Block:
    """Some of the nodes that stand for the cells of one group."""

    group: int
    """Its number c."""
    size_factor: torch.Tensor
    """(k,) where they are."""
    cells: torch.Tensor
    """(k,) how many cells each stands for; of any sign."""
    counts: torch.Tensor
    """(k, T) sums of these cells' counts."""


class CountLikelihood:
    """Log-likelihood of fixed counts as a function of ``mu * alpha`` and ``phi``.

    Parameters
    ----------
    data
        The counts; of which sums are kept on the device, in float64.
    device
        Where torch computes.
    cpus
        Threads that torch may use at most; `threads` of them are worth using.
    once
        Whether it is called only once, so that work which many calls would win back is not worth it.
    """

    def __init__(self, data: Observations, device: torch.device, cpus: int = 1, *, once: bool = False) -> None:
        def double(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values, dtype=np.float64), device=device)

        pairs = _pairs(data.counts)
        feature, value, repeats = pairs if once else few_pairs(*pairs)
        self.feature = torch.as_tensor(feature, device=device)  # (k,)
        self.value, self.repeats = double(value), double(repeats)  # (k,) each
        self.totals = double(data.group_sums())  # (C, T)
        depth = np.asarray(data.counts.sum(axis=1)).ravel()
        # At the nodes of counts `few_pairs` is accurate for log-gamma of 1 + y as well.
        self.constant = float(depth @ np.log(data.size_factor)) - self.repeats @ torch.lgamma(self.value + 1)
        sums = [_NodeSums.of(data, c) for c in np.unique(data.group)]
        self.threads = self.threads_worth(sum(group.counts.size for group in sums), cpus)
        self.blocks = tuple(block for group in sums for block in group.blocks(device, FIT_BLOCK * self.threads))

    @staticmethod
    def threads_worth(ncounts: int, cpus: int) -> int:
        """Threads that so many counts are worth."""
        return min(max(ncounts // _THREAD_ELEMENTS, 1), cpus)

    def __call__(self, base: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        """Log-probability of all counts.

        Parameters
        ----------
        base
            (C, T) mean of each group at size factor 1.
        phi
            (T,) total counts.

        Returns
        -------
        torch.Tensor
            A float64 scalar, differentiable once.
        """
        # Once each: gradients of the terms nearly cancel, so they must meet before they are rounded to float32.
        mean, total_count = base.double(), phi.double()
        logs = (self.totals * mean.log()).sum() - (self.totals.sum(0) * total_count.log()).sum()
        per_pair: torch.Tensor = _PerPair.apply(total_count, self.feature, self.value, self.repeats)  # type: ignore[no-untyped-call]
        per_node: torch.Tensor = _PerNode.apply(mean, total_count, self.blocks)  # type: ignore[no-untyped-call]
        return per_pair + logs + per_node + self.constant


class _PerPair(torch.autograd.Function):
    """The sum over pairs of a feature and a count, and its derivative by ``phi``, some pairs at a time.

    Left to autograd it keeps eight numbers a pair for the way back, and of high counts few repeat.
    """

    @staticmethod
    def forward(
        ctx: Any, phi: torch.Tensor, feature: torch.Tensor, value: torch.Tensor, repeats: torch.Tensor
    ) -> torch.Tensor:
        log_gamma, digamma = torch.lgamma(phi), torch.digamma(phi)  # (T,) each
        total, by_phi = torch.zeros_like(phi[0]), torch.zeros_like(phi)
        for a, b in minibatches(feature.numel(), _PAIRS):
            t, k = feature[a:b], repeats[a:b]
            at = phi[t] + value[a:b]
            total += k @ (torch.lgamma(at) - log_gamma[t])
            by_phi.index_add_(0, t, k * (torch.digamma(at) - digamma[t]))
        ctx.save_for_backward(by_phi)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None, None


class _PerNode(torch.autograd.Function):
    """The sum over cells and features, and its derivatives by ``base`` and ``phi``, in one pass over the nodes."""

    @staticmethod
    def forward(ctx: Any, base: torch.Tensor, phi: torch.Tensor, blocks: tuple[Block, ...]) -> torch.Tensor:
        total = torch.zeros_like(phi[0])
        by_base, by_phi = torch.zeros_like(base), torch.zeros_like(phi)
        for block in blocks:
            mean = block.size_factor[:, None] * base[block.group]  # (k, T)
            ratio = mean / phi
            log = torch.log1p(ratio)
            weight = torch.addcmul(block.counts, block.cells[:, None], phi)  # phi + y, of each node's cells
            slope = weight / mean.add_(phi)  # (phi + y) / (phi + m)
            by_base[block.group] -= block.size_factor @ slope
            by_phi += slope.mul_(ratio).sum(0) - block.cells @ log
            total -= weight.mul_(log).sum()
        ctx.save_for_backward(by_base, by_phi)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        by_base, by_phi = ctx.saved_tensors
        return grads[0] * by_base, grads[0] * by_phi, None


def _pairs(counts: sparse.csr_matrix) -> tuple[IndexArray, IndexArray, IndexArray]:
    """(k,) features and counts above zero that occur together, and how often; a part of the counts at a time."""
    width = int(counts.data.max(initial=0)) + 1
    keys, repeats = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for a, b in minibatches(counts.nnz, SORTED_COUNTS):
        new, times = np.unique(counts.indices[a:b].astype(np.int64) * width + counts.data[a:b], return_counts=True)
        keys, where = np.unique(np.concatenate([keys, new]), return_inverse=True)
        repeats = np.bincount(where, weights=np.concatenate([repeats, times])).astype(np.int64)
    return keys // width, keys % width, repeats


@dataclass(frozen=True, eq=False)
class _NodeSums:
    """What the nodes of a group stand for."""

    group: int
    size_factor: FloatArray
    """(k,)."""
    cells: FloatArray
    """(k,)."""
    counts: FloatArray
    """(k, T)."""

    @classmethod
    def of(cls, data: Observations, group: int) -> _NodeSums:
        """Sum over the cells of a group, some at a time."""
        rows = np.flatnonzero(data.group == group)
        nodes = Nodes.of(data.size_factor[rows])
        cells, counts = np.zeros(nodes.at.size), np.zeros((nodes.at.size, data.shape[1]))
        for a, b in minibatches(rows.size, max(1, SORTED_COUNTS // data.shape[1])):
            weights = nodes.weights(data.size_factor[rows[a:b]])
            cells += weights.sum(axis=1)
            counts += (data.counts[rows[a:b]].T @ weights.T).T
        return cls(int(group), nodes.at, cells, counts)

    def blocks(self, device: torch.device, nelements: int) -> Iterator[Block]:
        """Cut the nodes into blocks of so many counts."""
        for a, b in minibatches(self.cells.size, max(1, nelements // self.counts.shape[1])):
            arrays = (self.size_factor, self.cells, self.counts)
            yield Block(self.group, *(torch.as_tensor(array[a:b], device=device) for array in arrays))
