"""Counts that the fast routes leave, collected from many cells and settled together in SIMD lanes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.dense import DOUBT, LANES, PHI, TERM, TERMS, TOTAL, M, Q, U, Y, add_terms, start_sums
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.negbin import CERTAIN, POISSON_PHI, quantile
from streamsample.kernels.philox import LOW, philox, uniform, word_of

WAITING = LANES  # counts settled together, with room for those of a block that come on top
STOPS = (8, 32, 128)  # terms after which settled lanes make way
LARGE = 96.0  # means for which 128 terms would be too few, unless phi is small
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
    """(ROWS * LANES,) of `dense`."""
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
    values[M + waiting], values[PHI + waiting] = m, min(phi, POISSON_PHI)
    return waiting + 1


@kernel
def settle_waiting(unit, waiting):  # type: ignore[no-untyped-def]
    """Settle the counts that wait, and note in `pending` what tier 2 leaves."""
    unit.found[1] += waiting
    features, quads, lane, hi = unit.bits[0], unit.bits[1], unit.bits[2], unit.bits[3]
    w, key, sample = unit.values, unit.key, unit.sample
    for i in range(waiting):
        words = philox(features[i] & LOW, quads[i] & LOW, sample & LOW, PLANE_1, key[0], key[1])
        w[U + i] = uniform(hi[i], word_of(words, lane[i]))
    start_sums(w, waiting)
    waiting = drop_large(unit, w, waiting)
    terms = 0
    for stop in STOPS:
        while terms < stop:
            add_terms(w, waiting, terms)
            terms += TERMS
        waiting = land_settled(unit, w, waiting, terms)
    for i in range(waiting):
        settle_alone(unit, w, i)


@kernel
def drop_large(unit, w, waiting):  # type: ignore[no-untyped-def]
    """Give counts that sums would not reach to tier 2 at once; returns how many are left."""
    left = 0
    for i in range(waiting):
        if w[M + i] > LARGE and w[PHI + i] > 1.0:
            settle_alone(unit, w, i)
        else:
            move(unit, w, i, left)
            left += 1
    return left


@kernel
def land_settled(unit, w, waiting, terms):  # type: ignore[no-untyped-def]
    """Store the counts that are certain, and move the others to the front; returns how many those are."""
    left = 0
    for i in range(waiting):
        if w[DOUBT + i] == 0.0 and w[Y + i] < terms:
            unit.out[unit.places[0, i], unit.places[1, i]] = np.int64(w[Y + i])
        else:
            move(unit, w, i, left)
            left += 1
    return left


@inlined
def move(unit, w, i, to):  # type: ignore[no-untyped-def]
    """Move a waiting count."""
    unit.places[0, to], unit.places[1, to] = unit.places[0, i], unit.places[1, i]
    w[M + to], w[PHI + to], w[U + to], w[Q + to] = w[M + i], w[PHI + i], w[U + i], w[Q + i]
    w[TERM + to], w[TOTAL + to], w[Y + to], w[DOUBT + to] = w[TERM + i], w[TOTAL + i], w[Y + i], w[DOUBT + i]


@kernel
def settle_alone(unit, w, i):  # type: ignore[no-untyped-def]
    """Settle one count that waits by tier 2."""
    n, column = unit.places[0, i], unit.places[1, i]
    unit.out[n, column] = settle_one(unit, n, column, w[M + i], w[PHI + i], w[U + i])


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
