"""The kernel's roof: the same slab filled with Philox words alone, in the same order and on the same threads.

A count needs at least one word and one store, so no kernel of this stream can be faster.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from benchmarks.measure import Task
from benchmarks.slabs import BenchSlab, on_threads
from streamsample.kernels.jit import OPTIONS
from streamsample.kernels.philox import fill_words
from streamsample.kernels.slab import BLOCK
from streamsample.slab_work import key_words

PLANE = np.uint64(0)


@numba.njit(**OPTIONS, parallel=True)  # compiled anew in every process, as its cache would not see other files change
def fill_with_words(samples, features, key, out):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Fill ``out[S, N, T]`` with the words `hi` of its addresses, cut to its type.

    samples: (S,), features: (T,) uint64; key: (2,) uint64; cells are 0..N-1.
    """
    blocks = (features.size + BLOCK - 1) // BLOCK
    for unit in prange(samples.size * blocks):
        s = unit // blocks
        t0 = unit % blocks * BLOCK
        words = np.empty((4, BLOCK), np.uint32)
        for quad in range((out.shape[1] + 3) // 4):
            fill_words(features[t0 : t0 + BLOCK], np.uint64(quad), samples[s], PLANE, key[0], key[1], words)
            for lane in range(min(4, out.shape[1] - 4 * quad)):
                store(words[lane], out[s, 4 * quad + lane, t0 : t0 + BLOCK])


@numba.njit(**OPTIONS)
def store(words, row):  # type: ignore[no-untyped-def]
    """Copy words to a row of counts."""
    for i in range(row.size):
        row[i] = words[i]


def words_task(slab: BenchSlab, threads: int) -> Task:
    """Fill an array like the slab's with words."""
    selection, key = slab.stream.selection, key_words(slab.stream.seed)
    samples, features = selection.samples.astype(np.uint64), selection.features.astype(np.uint64)
    out = np.zeros_like(slab.out)
    return Task(on_threads(threads, lambda: fill_with_words(samples, features, key, out)), out.size)
