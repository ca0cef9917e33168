"""Counts by tiers 2 and 3 alone, with the fast routes left out: what a slab's counts are compared with."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from streamsample.exact import settle
from streamsample.kernels.negbin import OVERFLOW, UNDECIDED
from streamsample.kernels.philox import uniform_at
from streamsample.slab_work import key_words
from streamsample.stream import CountStream
from tests.kernels.referee import quantile


@numba.njit(error_model="numpy", parallel=True)
def _fill(samples, cells, features, mu, phi, alpha, size_factor, group, key, counts, status):
    for n in prange(cells.size):
        for s in range(samples.size):
            for t in range(features.size):
                m = mu[s, t] * alpha[s, group[n], t] * size_factor[n]
                u = uniform_at(samples[s], cells[n], features[t], key)
                counts[s, n, t], status[s, n, t] = quantile(m, phi[s, t], u)


def counts_alone(stream: CountStream) -> NDArray[np.int64]:
    """Every count of a stream's selection, (S, N, T)."""
    chosen, of = stream.selection, stream.posterior.cells
    block = stream.load(0, stream.shape[0]).parameters
    factor, group = of.size_factor[chosen.cells], of.group[chosen.cells]
    counts, status = np.empty(stream.shape, np.int64), np.empty(stream.shape, np.uint8)
    address = (index.astype(np.uint64) for index in (chosen.samples, chosen.cells, chosen.features))
    _fill(*address, block.mu, block.phi, block.alpha, factor, group, key_words(stream.seed), counts, status)
    assert not (status == OVERFLOW).any()
    for s, n, t in np.argwhere(status == UNDECIDED):
        m = float(block.mu[s, t] * block.alpha[s, group[n], t] * factor[n])
        where = np.uint64(chosen.samples[s]), np.uint64(chosen.cells[n]), np.uint64(chosen.features[t])
        u = float(uniform_at(*where, key_words(stream.seed)))
        counts[s, n, t] = settle(m, float(block.phi[s, t]), u, int(counts[s, n, t]))
    return counts


def counts_by_slab(stream: CountStream, dtype: Any = np.uint32) -> NDArray[Any]:
    """The same by the slab's routes, (S, N, T), into an array that held something else."""
    out = np.full(stream.shape, 77, dtype)
    stream.load(0, stream.shape[0]).fill(0, stream.shape[0], 0, stream.shape[1], out)
    return out
