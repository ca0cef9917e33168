"""Fill a slab of counts: addresses and parameters in, counts and the addresses of undecided ones out."""

from __future__ import annotations

import numpy as np
from numba import prange

from streamsample.kernels.brackets import LEVELS, bracket, classify, fill_brackets
from streamsample.kernels.jit import kernel, parallel_kernel
from streamsample.kernels.negbin import CERTAIN, quantile
from streamsample.kernels.philox import LOW, fill_words, philox, uniform, word_of

BLOCK = 512  # features in work at once: words, tables of one bin and flags stay in L1
NARROW = 16  # fewer features are filled one after the other: 12 ns a count instead of 60


@parallel_kernel
def fill_slab(  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    samples, features, mu, phi, alpha, quads, lanes, size_factor, group, low_edge, edges, starts, key, chunks,
    pending, found, out,
):  # fmt: skip
    """Fill ``out[S, N, T]`` and note what is left for tier 3.

    samples: (S,), features: (T,) uint64 indices into the posterior; mu, phi: (S, T); alpha: (S, C, T) float64.
    quads: (Q,) uint64 numbers of quads of cells; lanes: (Q, 4) row of `out` of each cell of the quad, or -1.
    size_factor, group, low_edge: (N,); the bin of cell n lies between the edges low_edge[n] and low_edge[n] + 1.
    edges: (E,) size factors; starts: (C + 1,) where the edges of each group begin; E = 0: no brackets.
    key: (2,) uint64; chunks: into how many parts the quads are cut.
    pending: (units, capacity, 3) int64 positions (s, n, t) of counts that are undecided or do not fit `out`;
    found: (units,) how many there are.
    """
    blocks = (features.size + BLOCK - 1) // BLOCK
    for unit in prange(samples.size * blocks * chunks):
        s = unit // (blocks * chunks)
        t0 = (unit // chunks) % blocks * BLOCK
        t1 = min(t0 + BLOCK, features.size)
        q0 = quads.size * (unit % chunks) // chunks
        q1 = quads.size * (unit % chunks + 1) // chunks
        found[unit] = fill_unit(
            s, t0, samples[s], features[t0:t1], mu[s, t0:t1], phi[s, t0:t1], alpha[s, :, t0:t1],
            quads[q0:q1], lanes[q0:q1], size_factor, group, low_edge, edges, starts, key,
            pending[unit], out[s, :, t0:t1],
        )  # fmt: skip


@kernel
def fill_unit(  # type: ignore[no-untyped-def]
    s, t0, sample, features, mu, phi, alpha, quads, lanes, size_factor, group, low_edge, edges, starts, key,
    pending, out,
):  # fmt: skip
    """Fill one sample, one block of features and a run of quads; returns how many counts are pending."""
    size = features.size
    base = np.empty((starts.size - 1, size))
    words = np.empty((4, size), np.uint32)
    doubt = np.empty(size, np.uint8)
    sure = np.empty((edges.size, LEVELS, size), np.uint32)
    over = np.empty((edges.size, LEVELS, size), np.uint32)
    work = np.empty((4, size))
    for c in range(starts.size - 1):
        for i in range(size):
            base[c, i] = mu[i] * alpha[c, i]
        a, b = starts[c], starts[c + 1]
        fill_brackets(base[c], phi, edges[a:b], work, sure[a:b], over[a:b])
    if size < NARROW:
        return fill_narrow(
            s, t0, sample, features, base, phi, quads, lanes, size_factor, group, low_edge, sure, over, key,
            pending, out,
        )  # fmt: skip
    doubt[:] = 1
    count = 0
    for j in range(quads.size):
        fill_words(features, quads[j], sample, np.uint64(0), key[0], key[1], words)
        for lane in range(4):
            n = lanes[j, lane]
            if n < 0:
                continue
            row = out[n]
            if edges.size > 0:
                classify(words[lane], over[low_edge[n]], sure[low_edge[n] + 1], row, doubt)
            means = base[group[n]]
            for i in range(size):
                if doubt[i] != 0:
                    row[i], count = settle_one(
                        s, n, t0 + i, lane, sample, features[i], quads[j], key, np.uint64(words[lane, i]),
                        means[i] * size_factor[n], phi[i], row.itemsize, pending, count,
                    )  # fmt: skip
    return count


@kernel
def fill_narrow(  # type: ignore[no-untyped-def]
    s, t0, sample, features, base, phi, quads, lanes, size_factor, group, low_edge, sure, over, key, pending, out
):  # fmt: skip
    """Fill a block of a few features, feature by feature: the loops over features would be too short to pay."""
    count = 0
    for i in range(features.size):
        for j in range(quads.size):
            words = philox(features[i] & LOW, quads[j] & LOW, sample & LOW, np.uint64(0), key[0], key[1])
            for lane in range(4):
                n = lanes[j, lane]
                if n < 0:
                    continue
                hi = word_of(words, lane)
                least, most = 0, LEVELS
                if over.shape[0] > 0:
                    least, most = bracket(hi, over[low_edge[n]], sure[low_edge[n] + 1], i)
                if least == most and most < LEVELS:
                    out[n, i] = least
                else:
                    out[n, i], count = settle_one(
                        s, n, t0 + i, lane, sample, features[i], quads[j], key, hi,
                        base[group[n], i] * size_factor[n], phi[i], out.itemsize, pending, count,
                    )  # fmt: skip
    return count


@kernel
def settle_one(  # type: ignore[no-untyped-def]
    s, n, t, lane, sample, feature, quad, key, hi, m, phi, itemsize, pending, count
):  # fmt: skip
    """Settle one count by tier 2, or note it in `pending`: (y, records so far)."""
    lo = word_of(philox(feature & LOW, quad & LOW, sample & LOW, np.uint64(1), key[0], key[1]), lane)
    y, status = quantile(m, phi, uniform(hi, lo))
    if status == CERTAIN and y < np.int64(1) << (8 * itemsize):
        return y, count
    if count < pending.shape[0]:
        pending[count, 0] = s
        pending[count, 1] = n
        pending[count, 2] = t
    return np.int64(0), count + 1
