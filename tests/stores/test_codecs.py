"""Chunks as bytes: what goes in comes out, other libraries read them, and they are small."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.chunking import CHUNK_NBYTES, ROW_NBYTES
from streamsample.errors import CorruptSlab
from streamsample.stores.codecs import CODECS, codec_of

NAMES = sorted(CODECS)


def single_cell(cells: int, features: int) -> Any:
    """Counts (cells, features) as of single cells, uint16: means and total counts of the workload of that name."""
    rng = np.random.default_rng(0)
    mu, phi = np.exp(rng.normal(-1.5, 1.5, features)), np.exp(rng.normal(0.5, 1.0, features))
    m = mu * rng.lognormal(0.0, 0.4, (cells, 1))
    return rng.negative_binomial(phi, phi / (phi + m)).astype(np.uint16)


@given(
    name=st.sampled_from(NAMES),
    dtype=st.sampled_from(["u1", "u2", "u4"]),
    cells=st.integers(1, 70),
    features=st.integers(1, 150),
    most=st.sampled_from([1, 3, 255, 2**16 - 1]),
)
def test_what_goes_in_comes_out(name: str, dtype: str, cells: int, features: int, most: int) -> None:
    top = min(most, np.iinfo(dtype).max)
    chunk = np.random.default_rng(cells).integers(0, top, (cells, features), dtype, endpoint=True)
    out = np.empty_like(chunk)
    CODECS[name].decode(CODECS[name].encode(chunk), out)
    np.testing.assert_array_equal(out, chunk)


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_blosc_needs_no_other_word_than_its_own_header(name: str) -> None:
    chunk = single_cell(64, 32)
    decoded = numcodecs.Blosc().decode(CODECS[name].encode(chunk))
    np.testing.assert_array_equal(np.frombuffer(decoded, np.uint16).reshape(chunk.shape), chunk)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes_are_an_error_or_other_counts(name: str) -> None:
    chunk, codec = single_cell(256, 32), CODECS[name]
    data, out, found = codec.encode(chunk), np.empty_like(chunk), 0
    for at in range(0, len(data), 7):
        try:
            codec.decode(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], out)
            found += int((out != chunk).any())
        except ValueError:
            found += 1
    assert found > len(data) / 7 * 0.9
    for short in (data[:0], data[:10], data[:-1], data + b"\0" * 9):
        with pytest.raises(ValueError, match=r"bytes|data"):
            codec.decode(short, np.empty((256, 33), np.uint16))


# The entropy of the workload's counts is 0.142 bytes each, if the parameters are known (DESIGN, docs/formats.md).
@pytest.mark.parametrize(("name", "most"), [("zstd", 1.35 * 0.142), ("gzip", 0.24), ("lz4", 0.28)])
@pytest.mark.parametrize("purpose", ["sample", "feature"])
def test_counts_of_single_cells_are_small(name: str, most: float, purpose: str) -> None:
    features = ROW_NBYTES[purpose] // 2
    counts = single_cell(CHUNK_NBYTES // (2 * features), 1024)
    nbytes = sum(
        len(CODECS[name].encode(np.ascontiguousarray(counts[:, t : t + features]))) for t in range(0, 1024, features)
    )
    assert nbytes / counts.size < most


def test_unknown_codec_is_told() -> None:
    with pytest.raises(CorruptSlab, match=r"x\.h5 is encoded by 'snappy', which this version does not know"):
        codec_of("snappy", "x.h5")
