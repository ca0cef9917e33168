"""Sums over cells of a slab that is about to be overwritten."""

from __future__ import annotations

import numpy as np
from numba import prange

from streamsample.kernels.jit import parallel_kernel

STRIP = 256  # features whose three running sums stay in L1 while the cells go by


@parallel_kernel
def add_moments(counts, total, square, zeros):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Add each feature's sum, sum of squares and number of zeros.

    counts: (s, n, T) uint32; total, square: (s, T) float64; zeros: (s, T) int64.
    Sums of integers below 2**53 are exact in float64, in any order.
    """
    strips = (counts.shape[2] + STRIP - 1) // STRIP
    for unit in prange(counts.shape[0] * strips):
        s, t0 = unit // strips, unit % strips * STRIP
        t1 = min(t0 + STRIP, counts.shape[2])
        sums, squares, empty = total[s, t0:t1], square[s, t0:t1], zeros[s, t0:t1]
        for n in range(counts.shape[1]):
            row = counts[s, n, t0:t1]
            for t in range(row.size):
                y = np.float64(row[t])
                sums[t] += y
                squares[t] += y * y
            for t in range(row.size):
                empty[t] += np.int64(row[t] == 0)
