"""Counts that the fast routes leave, collected from many cells and settled together in SIMD lanes.

Routes only fill a queue, and go back to their caller when it is full. If they emptied it themselves, all that settling
calls would be linked into each of them and compiled once more: ten of twenty-seven seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.dense import DOUBT, LANES, PHI, ROWS, STRIDE, TERMS, WHO, V, Y, add_terms, start_sums
from streamsample.kernels.jit import kernel
from streamsample.kernels.negbin import CERTAIN, POISSON_PHI, quantile, split
from streamsample.kernels.philox import LOW, philox, uniform, word_of, words_at

STEP = 2048  # counts that a route may add before it looks whether the queue is full: four cells of a block
CAPACITY = LANES + STEP + 8  # no power of two, as in `dense`
STOPS = (0, 8, 32, 128)  # terms after which settled lanes, and hopeless ones, make way
PLANE_0, PLANE_1 = np.uint64(0), np.uint64(1)  # of Philox's counter: hi and lo
PLACE, FEATURE, QUAD, WORD = range(4)  # of `Queue.bits`
COLUMN_BITS, LANE_BITS = np.uint64(16), np.uint64(2)
COLUMN_MASK, LANE_MASK = np.uint64(0xFFFF), np.uint64(3)
MEAN, TOTAL_COUNT, INFLATION = range(3)  # of `Queue.values`
PENDING, WAITED, SCALAR, OUTSIDE = range(4)  # of `Queue.found`
FOUND = 4


class Queue(NamedTuple):
    """Counts that wait, all of one unit of work."""

    state: NDArray[np.int64]
    """(3,) how many wait; position of the sample in the slab, and of the block's first feature."""
    bits: NDArray[np.uint64]
    """(4, CAPACITY) row of the cell and column within the block, feature, quad, hi and the lane of the cell."""
    values: NDArray[np.float64]
    """(3, CAPACITY) m, phi and pi."""
    sums: NDArray[np.float64]
    """(ROWS * STRIDE,) scratch of `dense`."""
    pending: NDArray[np.int64]
    """(capacity, 3) positions (s, n, t) for tier 3."""
    found: NDArray[np.int64]
    """(FOUND,) how many counts are pending, have waited, and went on to tier 2; how many means are outside."""


@kernel
def queue_of(s, t0, pending, found):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """A queue in which nothing waits."""
    state = np.empty(3, np.int64)
    state[0], state[1], state[2] = 0, s, t0
    bits, values = np.empty((4, CAPACITY), np.uint64), np.empty((3, CAPACITY), np.float64)
    return Queue(state, bits, values, np.empty(ROWS * STRIDE, np.float64), pending, found)


@kernel
def wait(queue, n, column, feature, quad, lane, hi, m, phi, inflation):  # type: ignore[no-untyped-def]
    """Let one count wait."""
    i, bits, values = np.uint64(queue.state[0]), queue.bits, queue.values  # unsigned: no check for a negative one
    bits[PLACE, i] = (np.uint64(n) << COLUMN_BITS) | np.uint64(column)
    bits[FEATURE, i], bits[QUAD, i] = feature, quad
    bits[WORD, i] = (np.uint64(hi) << LANE_BITS) | np.uint64(lane)
    values[MEAN, i], values[TOTAL_COUNT, i], values[INFLATION, i] = m, phi, inflation
    queue.state[0] += 1


@kernel
def full(queue):  # type: ignore[no-untyped-def]
    """Whether there may be no room for another step of a route."""
    return queue.state[0] > CAPACITY - STEP


@kernel
def leave_outside(queue, means, largest):  # type: ignore[no-untyped-def]
    """Count the means that are not at most `largest`, and go on with 0 for them."""
    for i in range(means.size):
        if not means[i] <= largest:
            queue.found[OUTSIDE] += 1
            means[i] = 0.0


@kernel
def settle_waiting(queue, sample, key, out):  # type: ignore[no-untyped-def]
    """Settle the counts that wait, and note what tier 2 leaves; out: (N, L) counts of the block."""
    waiting = queue.state[0]
    queue.found[WAITED] += waiting
    queue.state[0] = 0
    for first in range(0, waiting, LANES):
        size = min(LANES, waiting - first)
        fill_lanes(queue, first, size, sample, key)
        start_sums(queue.sums, queue.values[MEAN][first:], size)
        terms = np.int64(0)
        for stop in STOPS:
            while terms < stop:
                add_terms(queue.sums, size, terms)
                terms += TERMS
            size = land(queue, sample, key, size, terms, out)


@kernel
def fill_lanes(queue, first, size, sample, key):  # type: ignore[no-untyped-def]
    """Take `size` counts from the queue's `first` on, and draw the words `lo` that they need now."""
    features, quads, words = queue.bits[FEATURE][first:], queue.bits[QUAD][first:], queue.bits[WORD][first:]
    phi, inflation = queue.values[TOTAL_COUNT][first:], queue.values[INFLATION][first:]
    w, k0, k1 = queue.sums, key[0], key[1]
    for i in range(size):
        lo = philox(features[i] & LOW, quads[i] & LOW, sample & LOW, PLANE_1, k0, k1)
        w[V + i] = uniform(words[i] >> LANE_BITS, word_of(lo, words[i] & LANE_MASK))
    for i in range(size):
        w[V + i], _ = split(w[V + i], inflation[i])
        w[PHI + i], w[WHO + i] = min(phi[i], POISSON_PHI), first + i


@kernel
def land(queue, sample, key, size, terms, out):  # type: ignore[no-untyped-def]
    """Store the counts that are certain, settle alone those that sums won't, and move the others to the front."""
    places, w, left = queue.bits[PLACE], queue.sums, 0
    for i in range(size):
        j = np.uint64(w[WHO + i])
        n, column = places[j] >> COLUMN_BITS, places[j] & COLUMN_MASK
        if w[DOUBT + i] == 0.0 and w[Y + i] < terms:
            out[n, column] = np.int64(w[Y + i])
        elif w[DOUBT + i] > 0.0 or terms == STOPS[-1]:
            out[n, column] = settle_alone(queue, sample, key, j, n, column, np.int64(1) << (8 * out.itemsize))
        else:
            if left < i:
                for row in range(ROWS):
                    w[row * STRIDE + left] = w[row * STRIDE + i]
            left += 1
    return left


@kernel
def settle_alone(queue, sample, key, j, n, column, beyond):  # type: ignore[no-untyped-def]
    """Settle a count of the queue by tier 2, or note it in `pending`, as if it is not below `beyond`."""
    bits, values, found = queue.bits, queue.values, queue.found
    found[SCALAR] += 1
    lo = words_at(bits[FEATURE, j], bits[QUAD, j], sample, PLANE_1, key)
    u = uniform(bits[WORD, j] >> LANE_BITS, word_of(lo, bits[WORD, j] & LANE_MASK))
    v, w = split(u, values[INFLATION, j])
    y, status = quantile(values[MEAN, j], values[TOTAL_COUNT, j], v, w)
    if status == CERTAIN and y < beyond:
        return y
    if found[PENDING] < queue.pending.shape[0]:
        where = queue.pending[found[PENDING]]
        where[0], where[1], where[2] = queue.state[1], n, queue.state[2] + column
    found[PENDING] += 1
    return np.int64(0)
