"""Tier 1 for small means: brackets that settle a count by comparing integers.

The chance of at most k counts, ``G(k) = pi + (1 - pi) F(k; m, phi)``, falls as m grows, and within one sample, group
and feature the mean varies through the size factor only (without a design). So the size factors of a group are cut into
bins, G(0..3) is tabulated at the edges of the bins, and the words `hi` are compared with it: below the value at a bin's
upper edge, y <= k for every cell of the bin; above that at the lower edge, y > k. What lies between the two, or
above 3, is left to others.
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.elementary import EXP_ERROR, LOG_ERROR, U, exp, log1p
from streamsample.kernels.jit import kernel
from streamsample.kernels.negbin import POISSON_PHI

LEVELS = 4  # k = 0..3; at mean 0.75 a fifth level settles 1 % more and costs 6 % of the speed
WORDS = 2.0**32
WORD_MAX = 2.0**32 - 1.0
# All numbers of a feature in one array at constant distances, as in `dense`: LLVM vectorises no loop in which it would
# have to prove more than eight pairs of arrays disjoint (41 ns an entry; 6 in short loops over few arrays, 3 in these).
STRIDE = 512 + 8
BASE, PHI, PI, TERM, TOTAL, Q, ERROR = (STRIDE * i for i in range(7))
ROWS = 7


@kernel
def fill_brackets(base, phi, inflation, edges, w, sure, over):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Tabulate G(0..3) at the edges of the bins, as words and rounded outwards.

    base, phi, inflation: (L,) mean at size factor 1, total count, and pi; edges: (E,) size factors, increasing;
    w: (ROWS * STRIDE,) scratch; sure, over: (E, LEVELS, L) uint32. With u in (hi, hi + 1) * 2**-32, at the edge's own
    mean: ``hi < sure[e, k]`` proves y <= k and ``hi > over[e, k]`` proves y > k.
    """
    size = base.size
    for i in range(size):
        w[BASE + i], w[PHI + i], w[PI + i] = base[i], min(phi[i], POISSON_PHI), inflation[i]
    for e in range(edges.size):
        start_brackets(w, size, edges[e])
        for k in range(LEVELS):
            store_words(w, size, sure[e, k], over[e, k])
            add_term(w, size, np.float64(k))


@kernel
def start_brackets(w, size, edge):  # type: ignore[no-untyped-def]
    """P(0), q, and the error of all sums that begin there, at one size factor."""
    for i in range(size):
        m, f = w[BASE + i] * edge, w[PHI + i]
        x = f * log1p(m / f)
        w[ERROR + i] = x if x < 690.0 else 690.0  # far beyond any word; keeps exp in its domain
        w[Q + i] = m / (f + m)
    for i in range(size):
        w[TERM + i] = exp(-w[ERROR + i])
        w[TOTAL + i] = w[TERM + i]
        # Relative, as in negbin.sum_upwards: the exponent's, six roundings a term, one an addition; eight for pi.
        w[ERROR + i] = (EXP_ERROR + (LOG_ERROR + 4.0) * w[ERROR + i] + 40.0) * U


@kernel
def add_term(w, size, k):  # type: ignore[no-untyped-def]
    """From F(k) to F(k + 1)."""
    factor = 1.0 / (k + 1.0)
    for i in range(size):
        term = w[TERM + i] * ((w[PHI + i] + k) * w[Q + i] * factor)
        w[TERM + i] = term
        w[TOTAL + i] += term


@kernel
def store_words(w, size, sure, over):  # type: ignore[no-untyped-def]
    """Round G to words, down and up by its error."""
    for i in range(size):
        g = WORDS * (w[PI + i] + (1.0 - w[PI + i]) * w[TOTAL + i])
        spread = g * w[ERROR + i]
        low, high = g - spread, g + spread
        sure[i] = np.uint32(low if low < WORD_MAX else WORD_MAX)
        over[i] = np.uint32(high if high < WORD_MAX else WORD_MAX)


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
def classify_zeros(hi, means, inflation, out, doubt):  # type: ignore[no-untyped-def]
    """Settle the counts of one cell that are certainly 0, without a table: ``G(0) >= 1 - (1 - pi) m``.

    For ``P(0) = (1 + m/phi)**-phi >= exp(-m) >= 1 - m``. hi, means, inflation, out, doubt: (L,); all of
    `out` is set to 0.
    """
    for i in range(out.size):
        above = (np.float64(np.int64(hi[i])) + 1.0) * (1.0 / WORDS)  # u is below
        out[i] = 0
        doubt[i] = np.uint8(not above <= (1.0 - (1.0 - inflation[i]) * means[i]) - 4.0 * U)


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
