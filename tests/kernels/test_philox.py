from __future__ import annotations

import numba
import numpy as np
import pytest

from streamsample.kernels.philox import fill_words, philox, uniform, uniform_at

# Random123's known answers for philox4x32-10 (kat_vectors): counter, key, output.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@numba.njit
def _philox(c0, c1, c2, c3, k0, k1):
    return philox(c0, c1, c2, c3, k0, k1)


@numba.njit
def _uniform(hi, lo):
    return uniform(hi, lo)


def words(values):
    return [np.uint64(value) for value in values]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    assert _philox(*words(counter), *words(key)) == answer


def test_a_block_of_features_has_the_words_of_each():
    features = np.array([0, 1, 7, 2**31, 2**32 - 1], np.uint64)
    out = np.zeros((4, 8), np.uint32)
    fill_words(features, *words((11, 12, 1, 13, 14)), out)
    for i, feature in enumerate(features):
        assert tuple(out[:, i]) == _philox(feature, *words((11, 12, 1, 13, 14)))
    assert not out[:, features.size :].any()


def test_u_is_never_0_or_1_and_exact():
    top = np.uint64(0xFFFFFFFF)
    assert _uniform(np.uint64(0), np.uint64(0)) == 2.0**-53
    assert _uniform(top, top) == 1 - 2.0**-53
    assert _uniform(np.uint64(2**31), np.uint64(0)) == 0.5 + 2.0**-53


def test_the_address_names_the_word():
    key = np.array([5, 6], np.uint64)
    for cell in range(8):
        hi = _philox(*words((3, cell >> 2, 9, 0, 5, 6)))[cell & 3]
        lo = _philox(*words((3, cell >> 2, 9, 1, 5, 6)))[cell & 3]
        j = hi * 2**20 + (lo >> 12)
        assert uniform_at(*words((9, cell, 3)), key) == (j + 0.5) * 2.0**-52
