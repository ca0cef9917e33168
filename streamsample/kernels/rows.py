"""The route of small means: a cell at a time, over many features, by brackets."""

from __future__ import annotations

import numpy as np

from streamsample.kernels.brackets import LEVELS, ROWS, STRIDE, bracket, classify, classify_zeros, fill_brackets
from streamsample.kernels.jit import kernel, trailing_zeros
from streamsample.kernels.means import LARGEST_MEAN, fill_means, mean_of
from streamsample.kernels.philox import fill_words, word_of, words_at
from streamsample.kernels.waiting import PLANE_0, full, leave_outside, wait

ONE = np.uint64(1)
# By a product with this the lowest bits of eight bytes come together in the top one, the first byte's as the lowest, on
# processors that store it first, as all do that Numba knows.
GATHER, TOP_BYTE = np.uint64(0x0102040810204080), np.uint64(56)


@kernel
def fill_rows(block, columns, table, sample, key, quads, lanes, layout, out, t0, width, queue, first):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Fill some columns of a block from quad `first` on, until the queue is full; returns where to go on.

    block: of these columns, with a mean of 0 where another route is taken; columns: (L,) their positions within the
    unit's block; table: of `tables`; quads: (Q,), lanes: (Q, 4) of the unit's cells; out: (N, T), of which the unit's
    block begins at t0 and has `width` columns.
    """
    size = columns.size
    sure, over = table
    whole = size == width
    words, means = np.empty((4, size), np.uint32), np.empty(size, np.float64)
    some, doubt = np.empty(size, out.dtype), np.zeros((size + 63) // 64 * 64, np.uint8)
    for j in range(first, quads.size):
        if full(queue):
            return j
        fill_words(block.features, quads[j], sample, PLANE_0, key[0], key[1], words)
        for lane in range(4):
            n = lanes[j, lane]
            if n < 0:
                continue
            row = out[n][t0 : t0 + width]  # Numba knows that it is contiguous, and LLVM then stores whole vectors
            counts = row if whole else some
            base, factor = block.base[layout.group[n]], layout.size_factor[n]
            if layout.edges.size > 0:
                low = layout.low_edge[n]
                classify(words[lane], over[low], sure[low + 1], counts, doubt)
            else:
                if fill_means(block.base, block.beta, layout, n, means) > 0:
                    leave_outside(queue, means, LARGEST_MEAN)
                classify_zeros(words[lane], means, block.inflation, counts, doubt)
                base, factor = means, 1.0
            if not whole:
                scatter(some, columns, row)
            collect(block, columns, n, lane, quads[j], words[lane], base, factor, doubt.view(np.uint64), queue)
    return quads.size


@kernel
def tables(block, layout):  # type: ignore[no-untyped-def]
    """Brackets at all edges of all groups: two of (E, LEVELS, L) uint32."""
    edges, starts, size = layout.edges, layout.starts, block.phi.size
    sure = np.empty((edges.size, LEVELS, size), np.uint32)
    over = np.empty((edges.size, LEVELS, size), np.uint32)
    w = np.empty(ROWS * STRIDE, np.float64)
    for c in range(starts.size - 1):
        a, b = starts[c], starts[c + 1]
        fill_brackets(block.base[c], block.phi, block.inflation, edges[a:b], w, sure[a:b], over[a:b])
    return sure, over


@kernel
def scatter(some, columns, row):  # type: ignore[no-untyped-def]
    """Store counts in their columns of a cell's row."""
    for i in range(columns.size):
        row[columns[i]] = some[i]


@kernel
def collect(block, columns, n, lane, quad, words, base, factor, doubt, queue):  # type: ignore[no-untyped-def]
    """Let the doubtful counts of one cell wait; their means are base x factor.

    doubt: (G,) eight flags each, of a byte. 64 flags become one mask: a branch for each count, or for each eight, would
    go wrong at every doubtful one.
    """
    for group in range(0, doubt.size, 8):
        mask = np.uint64(0)
        for part in range(8):
            mask |= ((doubt[group + part] * GATHER) >> TOP_BYTE) << np.uint64(8 * part)
        while mask != 0:
            i = np.uint64(8 * group) + trailing_zeros(mask)
            mask &= mask - ONE
            m, phi, inflation = base[i] * factor, block.phi[i], block.inflation[i]
            wait(queue, n, columns[i], block.features[i], quad, lane, words[i], m, phi, inflation)


@kernel
def fill_narrow(block, i, table, sample, key, quads, lanes, layout, out, queue, first):  # type: ignore[no-untyped-def]
    """Fill one feature of a block of few: the loops over features would be too short to pay.

    From quad `first` on, until the queue is full; returns where to go on. out: (N, L) counts of the block.
    """
    sure, over = table
    mean = np.empty(1, np.float64)
    for j in range(first, quads.size):
        if full(queue):
            return j
        words = words_at(block.features[i], quads[j], sample, PLANE_0, key)
        for lane in range(4):
            n = lanes[j, lane]
            if n < 0:
                continue
            hi = word_of(words, lane)
            least, most = 0, LEVELS
            if over.shape[0] > 0:
                low = layout.low_edge[n]
                least, most = bracket(hi, over[low], sure[low + 1], i)
            if least == most and most < LEVELS:
                out[n, i] = least
                continue
            mean[0] = mean_of(block.base, block.beta, layout, n, i)
            leave_outside(queue, mean, LARGEST_MEAN)
            wait(queue, n, i, block.features[i], quads[j], lane, hi, mean[0], block.phi[i], block.inflation[i])
    return quads.size
