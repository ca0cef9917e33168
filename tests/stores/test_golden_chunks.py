"""Compressed files of every release stay readable: these were written once, in format 1, and never again."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from streamsample.geometry import Slab
from streamsample.stores import describe, store_for
from streamsample.verifier import check
from tests.stores.test_golden import GOLDEN, STREAM

NAMES = ["chunks-1-gzip.h5", "chunks-1-lz4.h5", "chunks-1-zstd.h5", "chunks-1-lz4.zarr", "chunks-1-zstd.zarr"]


@pytest.mark.parametrize("name", NAMES)
def test_file_of_format_1_is_read_and_checked(name: str) -> None:
    path = GOLDEN / name
    facts = describe(path)
    assert (facts.shape, facts.dtype, facts.seed, facts.complete) == ((3, 7, 5), "uint16", 2**63, True)
    assert facts.selection["cell_index"] == [0, 1, 2, 3, 4, 5, 7]
    stored = store_for(path).open(path)
    stored.check_frame()
    assert stored.manifest.layout["codec"] in name
    np.testing.assert_array_equal(stored.read(Slab(0, 3, 0, 7)), STREAM.counts())
    assert check(stored, STREAM, path).counts_compared == 3 * 7 * 5  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_others_read_it(name: str) -> None:
    if name.endswith(".zarr"):
        zarr = pytest.importorskip("zarr")
        counts, names = (zarr.open_group(GOLDEN / name, mode="r")[key][:] for key in ("counts", "feature"))
    else:
        pytest.importorskip("hdf5plugin")
        with h5py.File(GOLDEN / name) as file:
            counts, names = file["counts"][:], file["feature"].asstr()[:]
    np.testing.assert_array_equal(counts, STREAM.counts())
    assert list(names) == [f"gene{t}" for t in range(5)]
