"""Fill a slab of counts: addresses and parameters in, counts and the addresses of undecided ones out."""

from __future__ import annotations

import numpy as np
from numba import prange

from streamsample.kernels.brackets import LEVELS, bracket, classify, fill_brackets
from streamsample.kernels.dense import ROWS, STEPS, sum_lanes
from streamsample.kernels.jit import announce_compilation, kernel, parallel_kernel
from streamsample.kernels.negbin import CERTAIN, POISSON_PHI, quantile
from streamsample.kernels.philox import LOW, fill_words, philox, uniform, word_of

BLOCK = 512  # features in work at once: words, tables of one bin and flags stay in L1
WAITING = 1024  # doubtful counts settled together
PLANE_0, PLANE_1 = np.uint64(0), np.uint64(1)  # of Philox's counter: hi and lo
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
            pending[unit], out[s],
        )  # fmt: skip


@kernel
def fill_unit(  # type: ignore[no-untyped-def]
    s, t0, sample, features, mu, phi, alpha, quads, lanes, size_factor, group, low_edge, edges, starts, key,
    pending, plane,
):  # fmt: skip
    """Fill one sample, one block of features and a run of quads; returns how many counts are pending.

    plane: (N, T) the sample's counts in the slab.
    """
    size = features.size
    out = plane[:, t0 : t0 + size]  # (N, L)
    base = np.empty((starts.size - 1, size))
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
    words = np.empty((4, size), np.uint32)
    doubt = np.ones(size, np.uint8)
    places = np.empty((2, WAITING), np.int64)  # row and column of the counts in doubt
    bits = np.empty((4, WAITING), np.uint64)  # their feature, quad, lane and hi
    values = np.empty((4 + ROWS, WAITING))  # their mean, phi, u and y, and scratch
    waiting, count = 0, 0
    for j in range(quads.size):
        fill_words(features, quads[j], sample, PLANE_0, key[0], key[1], words)
        for lane in range(4):
            n = lanes[j, lane]
            if n < 0:
                continue
            if edges.size > 0:
                # Not out[n]: Numba knows that this is contiguous, and LLVM then stores whole vectors.
                row = plane[n][t0 : t0 + size]
                classify(words[lane], over[low_edge[n]], sure[low_edge[n] + 1], row, doubt)
            waiting = collect(
                n, lane, quads[j], features, words[lane], base[group[n]], phi, size_factor[n], doubt,
                places, bits, values, waiting,
            )  # fmt: skip
            if waiting > WAITING - size:
                count = settle_waiting(s, t0, sample, key, places, bits, values, waiting, pending, count, out)
                waiting = 0
    return settle_waiting(s, t0, sample, key, places, bits, values, waiting, pending, count, out)


@kernel
def collect(  # type: ignore[no-untyped-def]
    n, lane, quad, features, words, base, phi, factor, doubt, places, bits, values, waiting
):  # fmt: skip
    """Add the doubtful counts of one cell to those that wait for the SIMD lanes; returns how many wait."""
    for i in range(features.size):
        if doubt[i] != 0:
            places[0, waiting] = n
            places[1, waiting] = i
            bits[0, waiting] = features[i]
            bits[1, waiting] = quad
            bits[2, waiting] = lane
            bits[3, waiting] = words[i]
            values[0, waiting] = base[i] * factor
            values[1, waiting] = min(phi[i], POISSON_PHI)
            waiting += 1
    return waiting


@kernel
def settle_waiting(  # type: ignore[no-untyped-def]
    s, t0, sample, key, places, bits, values, waiting, pending, count, out
):  # fmt: skip
    """Settle the counts that wait, and note in `pending` what tier 2 leaves; returns how many those are by now."""
    features, quads, lane, hi = bits[0], bits[1], bits[2], bits[3]
    m, phi, u, y = values[0], values[1], values[2], values[3]
    for i in range(waiting):
        words = philox(features[i] & LOW, quads[i] & LOW, sample & LOW, PLANE_1, key[0], key[1])
        u[i] = uniform(hi[i], word_of(words, lane[i]))
    for steps in STEPS:
        sum_lanes(m, phi, u, steps, values[4:], y[:waiting])
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
        out[n, column], count = settle_one(s, n, t0 + column, m[i], phi[i], u[i], out.itemsize, pending, count)
    return count


@kernel
def fill_narrow(  # type: ignore[no-untyped-def]
    s, t0, sample, features, base, phi, quads, lanes, size_factor, group, low_edge, sure, over, key, pending, out
):  # fmt: skip
    """Fill a block of a few features, feature by feature: the loops over features would be too short to pay."""
    count = 0
    for i in range(features.size):
        for j in range(quads.size):
            words = philox(features[i] & LOW, quads[j] & LOW, sample & LOW, PLANE_0, key[0], key[1])
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
                    lo = word_of(philox(features[i] & LOW, quads[j] & LOW, sample & LOW, PLANE_1, key[0], key[1]), lane)
                    m = base[group[n], i] * size_factor[n]
                    out[n, i], count = settle_one(
                        s, n, t0 + i, m, phi[i], uniform(hi, lo), out.itemsize, pending, count
                    )  # fmt: skip
    return count


@kernel
def settle_one(s, n, t, m, phi, u, itemsize, pending, count):  # type: ignore[no-untyped-def]
    """Settle one count by tier 2, or note it in `pending`: (y, records so far)."""
    y, status = quantile(m, phi, u)
    if status == CERTAIN and y < np.int64(1) << (8 * itemsize):
        return y, count
    if count < pending.shape[0]:
        pending[count, 0] = s
        pending[count, 1] = n
        pending[count, 2] = t
    return np.int64(0), count + 1


announce_compilation(fill_slab, "the kernel")
