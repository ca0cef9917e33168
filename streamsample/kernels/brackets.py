"""Tier 1 for small means: brackets that settle a count by comparing integers.

F(k; m, phi) falls as m grows, and within one sample, group and feature the mean varies through the size factor only.
So the size factors of a group are cut into bins, F(0..3) is tabulated at the edges of the bins, and the words `hi` are
compared with it: below the value at a bin's upper edge, y <= k for every cell of the bin; above that at the lower
edge, y > k. What lies between the two, or above 3, is left to tier 2.
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.elementary import EXP_ERROR, LOG_ERROR, U, exp, log1p
from streamsample.kernels.jit import kernel
from streamsample.kernels.negbin import POISSON_PHI

LEVELS = 4  # k = 0..3; at mean 0.75 a fifth level settles 1 % more and costs 6 % of the speed
WORDS = 2.0**32
WORD_MAX = 2.0**32 - 1.0


@kernel
def fill_brackets(base, phi, edges, work, sure, over):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Tabulate F(0..3) at the edges of the bins, as words and rounded outwards.

    base, phi: (L,) mean at size factor 1, and total count; edges: (E,) size factors, increasing;
    work: (4, >= L) float64; sure, over: (E, LEVELS, >= L) uint32. With u in (hi, hi + 1) * 2**-32, at the edge's own
    mean: ``hi < sure[e, k]`` proves y <= k and ``hi > over[e, k]`` proves y > k.
    """
    size = base.size
    term, total, q, error = work[0], work[1], work[2], work[3]
    for e in range(edges.size):
        edge = edges[e]
        # Short loops over few arrays: LLVM gives up vectorising where it has to prove more than
        # eight pairs of them disjoint (41 ns an entry in one loop, 6 in these).
        for i in range(size):
            f = phi[i] if phi[i] < POISSON_PHI else POISSON_PHI
            x = f * log1p(base[i] * edge / f)
            error[i] = x if x < 690.0 else 690.0  # far beyond any word; keeps exp in its domain
        for i in range(size):
            f = phi[i] if phi[i] < POISSON_PHI else POISSON_PHI
            m = base[i] * edge
            q[i] = m / (f + m)
        for i in range(size):
            term[i] = exp(-error[i])
            # Relative, as in negbin.sum_upwards: the exponent's, six roundings a term, one an addition.
            error[i] = (EXP_ERROR + (LOG_ERROR + 4.0) * error[i] + 32.0) * U
        for i in range(size):
            total[i] = term[i]
        for k in range(LEVELS):
            store_words(total, error, sure[e, k, :size], over[e, k, :size])
            factor = 1.0 / (k + 1.0)
            for i in range(size):
                f = phi[i] if phi[i] < POISSON_PHI else POISSON_PHI
                term[i] *= (f + k) * q[i] * factor
            for i in range(size):
                total[i] += term[i]


@kernel
def store_words(total, error, sure, over):  # type: ignore[no-untyped-def]
    """Round sums to words, down and up by their error."""
    for i in range(sure.size):
        word = np.floor(WORDS * (total[i] * (1.0 - error[i])))
        sure[i] = np.uint32(word if word < WORD_MAX else WORD_MAX)
    for i in range(over.size):
        word = np.floor(WORDS * (total[i] * (1.0 + error[i])))
        over[i] = np.uint32(word if word < WORD_MAX else WORD_MAX)


@kernel
def classify(hi, over, sure, out, doubt):  # type: ignore[no-untyped-def]
    """Settle the counts of one cell for a block of features by the brackets of its bin.

    hi: (L,) uint32; over: (LEVELS, >= L) at the bin's lower edge; sure: the same at its upper edge;
    out: (L,) counts; doubt: (>= L,) uint8, 1 where `out` is not certain.
    """
    o0, o1, o2, o3 = over[0], over[1], over[2], over[3]
    s0, s1, s2, s3 = sure[0], sure[1], sure[2], sure[3]
    for i in range(out.size):
        h = hi[i]
        least = np.uint8(h > o0[i]) + np.uint8(h > o1[i]) + np.uint8(h > o2[i]) + np.uint8(h > o3[i])
        most = np.uint8(h >= s0[i]) + np.uint8(h >= s1[i]) + np.uint8(h >= s2[i]) + np.uint8(h >= s3[i])
        out[i] = least
        doubt[i] = np.uint8(least != most) | np.uint8(most == LEVELS)


@kernel
def bracket(hi, over, sure, i):  # type: ignore[no-untyped-def]
    """Settle one count: (least, most), equal and below LEVELS where it is certain. Arguments as in `classify`."""
    least = 0
    while least < LEVELS and hi > over[least, i]:
        least += 1
    most = least
    while most < LEVELS and hi >= sure[most, i]:
        most += 1
    return least, most
