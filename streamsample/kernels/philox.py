"""Philox4x32-10: the bits behind every count, as a pure function of its address.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11); constants of Random123.
A word is held in the low half of a uint64, because LLVM then finds one widening multiply a half round and
vectorises the loop over features; 32-bit lanes were widened by Numba and stayed scalar.
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.jit import inlined, kernel

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
# The key of round i is the key plus i Weyl steps, modulo 2**32.
_, A1, A2, A3, A4, A5, A6, A7, A8, A9 = (np.uint64(i * 0x9E3779B9 & 0xFFFFFFFF) for i in range(10))
_, B1, B2, B3, B4, B5, B6, B7, B8, B9 = (np.uint64(i * 0xBB67AE85 & 0xFFFFFFFF) for i in range(10))


@inlined
def round_of(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """One round; the caller adds the round's key."""
    p0 = M0 * c0
    p1 = M1 * c2
    return (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW


@inlined
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Four output words of the counter ``(c0, c1, c2, c3)`` under the key ``(k0, k1)``; all uint64 below 2**32."""
    # Ten rounds written out: a loop over rounds inside the loop over features keeps LLVM from vectorising the latter.
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A1) & LOW, (k1 + B1) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A2) & LOW, (k1 + B2) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A3) & LOW, (k1 + B3) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A4) & LOW, (k1 + B4) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A5) & LOW, (k1 + B5) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A6) & LOW, (k1 + B6) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A7) & LOW, (k1 + B7) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A8) & LOW, (k1 + B8) & LOW)
    c0, c1, c2, c3 = round_of(c0, c1, c2, c3, (k0 + A9) & LOW, (k1 + B9) & LOW)
    return c0, c1, c2, c3


@kernel
def words_at(feature, quad, sample, plane, key):  # type: ignore[no-untyped-def]
    """Four words of one quad: `philox` without being pasted in, for loops that LLVM would not vectorise."""
    return philox(feature & LOW, quad & LOW, sample & LOW, plane, key[0], key[1])


@kernel
def fill_words(features, quad, sample, plane, k0, k1, out):  # type: ignore[no-untyped-def]
    """Fill the words of a quad of cells for a block of features.

    features: (L,) uint64 counters; out: (4, >= L) uint32, a row a cell of the quad.
    """
    w0, w1, w2, w3 = out[0], out[1], out[2], out[3]
    for i in range(features.size):
        a, b, c, d = philox(features[i] & LOW, quad & LOW, sample & LOW, plane, k0, k1)
        w0[i] = a
        w1[i] = b
        w2[i] = c
        w3[i] = d


@inlined
def word_of(words, lane):  # type: ignore[no-untyped-def]
    """The word of a cell: its lane among the quad's four, by its two bits. LLVM makes a switch of four equalities."""
    even = np.uint64(lane) & np.uint64(1) == np.uint64(0)
    low, high = words[0] if even else words[1], words[2] if even else words[3]
    return low if np.uint64(lane) & np.uint64(2) == np.uint64(0) else high


@inlined
def uniform(hi, lo):  # type: ignore[no-untyped-def]
    """``u`` of a pair of words: odd multiples of 2**-53, exact in float64."""
    j = (hi << np.uint64(20)) | (lo >> np.uint64(12))
    return (np.float64(j) + 0.5) * 2.0**-52


@kernel
def uniform_at(sample, cell, feature, key):  # type: ignore[no-untyped-def]
    """``u`` of one address; all uint64, key: (2,)."""
    lane = cell & np.uint64(3)
    quad = cell >> np.uint64(2)
    hi = words_at(feature, quad, sample, np.uint64(0), key)
    lo = words_at(feature, quad, sample, np.uint64(1), key)
    return uniform(word_of(hi, lane), word_of(lo, lane))
