"""Counts that the fast routes leave, collected from many cells and settled together in SIMD lanes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.dense import ROWS, STEPS, sum_lanes
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.negbin import CERTAIN, POISSON_PHI, quantile
from streamsample.kernels.philox import uniform, word_of, words_at

WAITING = 1536  # counts settled together, and room for those of a block that come on top
WAITING_ROWS = 4 + ROWS
PLANE_0, PLANE_1 = np.uint64(0), np.uint64(1)  # of Philox's counter: hi and lo


class Unit(NamedTuple):
    """Where a unit of work is, and what its counts wait in."""

    s: np.int64
    """Position of the sample in the slab."""
    t0: np.int64
    """Position of the block's first feature."""
    sample: np.uint64
    """Index of the sample."""
    key: NDArray[np.uint64]
    """(2,)."""
    places: NDArray[np.int64]
    """(2, WAITING) row of the cell, and column within the block."""
    bits: NDArray[np.uint64]
    """(4, WAITING) feature, quad, lane and hi."""
    values: NDArray[np.float64]
    """(WAITING_ROWS, WAITING) mean, phi, u, y, and scratch."""
    pending: NDArray[np.int64]
    """(capacity, 3) positions (s, n, t) for tier 3."""
    found: NDArray[np.int64]
    """(3,) how many counts are pending, have waited, and went on to tier 2."""
    out: NDArray[np.unsignedinteger]
    """(N, L) counts of the block."""


@inlined
def wait(unit, waiting, n, column, feature, quad, lane, hi, m, phi):  # type: ignore[no-untyped-def]  # compiled
    """Let one count wait."""
    places, bits, values = unit.places, unit.bits, unit.values
    places[0, waiting], places[1, waiting] = n, column
    bits[0, waiting], bits[1, waiting], bits[2, waiting], bits[3, waiting] = feature, quad, lane, hi
    values[0, waiting], values[1, waiting] = m, min(phi, POISSON_PHI)
    return waiting + 1


@kernel
def settle_waiting(unit, waiting):  # type: ignore[no-untyped-def]
    """Settle the counts that wait, and note in `pending` what tier 2 leaves."""
    unit.found[1] += waiting
    places, out = unit.places, unit.out
    features, quads, lane, hi = unit.bits[0], unit.bits[1], unit.bits[2], unit.bits[3]
    m, phi, u, y = unit.values[0], unit.values[1], unit.values[2], unit.values[3]
    key, sample = unit.key, unit.sample
    for i in range(waiting):
        words = words_at(features[i], quads[i], sample, PLANE_1, key)
        u[i] = uniform(hi[i], word_of(words, lane[i]))
    for steps in STEPS:
        sum_lanes(m, phi, u, steps, unit.values[4:], y[:waiting])
        left = 0
        for i in range(waiting):
            if y[i] >= 0.0:
                out[places[0, i], places[1, i]] = np.int64(y[i])
            else:
                places[0, left], places[1, left] = places[0, i], places[1, i]
                m[left], phi[left], u[left] = m[i], phi[i], u[i]
                left += 1
        waiting = left
    for i in range(waiting):
        n, column = places[0, i], places[1, i]
        out[n, column] = settle_one(unit, n, column, m[i], phi[i], u[i])


@kernel
def settle_one(unit, n, column, m, phi, u):  # type: ignore[no-untyped-def]
    """Settle one count by tier 2, or note it in `pending`."""
    unit.found[2] += 1
    y, status = quantile(m, phi, u)
    if status == CERTAIN and y < np.int64(1) << (8 * unit.out.itemsize):
        return y
    count = unit.found[0]
    if count < unit.pending.shape[0]:
        unit.pending[count, 0] = unit.s
        unit.pending[count, 1] = n
        unit.pending[count, 2] = unit.t0 + column
    unit.found[0] = count + 1
    return np.int64(0)
