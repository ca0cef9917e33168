"""HDF5's index as HDF5 writes it itself."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from streamsample.errors import StoreError
from streamsample.stores.fixed_array import FixedArray, lookup3, lookup3_rows, with_end_of_file


def test_lookup3_gives_the_values_of_its_author() -> None:
    # Bob Jenkins, lookup3.c, driver5: hashlittle("Four score and seven years ago", 30, 0).
    assert lookup3(b"Four score and seven years ago") == 0x17770551
    rows = np.random.default_rng(0).integers(0, 256, (4, 37)).astype(np.uint8)
    assert lookup3_rows(rows).tolist() == [lookup3(row.tobytes()) for row in rows]


@pytest.mark.parametrize("nchunks", [2, 1023, 1024, 1025, 5000])
def test_block_is_the_one_that_hdf5_writes(tmp_path: Path, nchunks: int) -> None:
    path = tmp_path / "theirs.h5"
    sizes = np.random.default_rng(nchunks).integers(1, 300, nchunks).astype(np.uint32)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        dataset = file.create_dataset("counts", (nchunks, 8), "u2", chunks=(1, 8), compression="gzip").id
        for i, size in enumerate(sizes.tolist()):
            dataset.write_direct_chunk((i, 0), bytes(size))
    with h5py.File(path) as file:
        dataset = file["counts"].id
        offsets = np.array([dataset.get_chunk_info(i).byte_offset for i in range(nchunks)], np.uint64)
    data = path.read_bytes()
    array = FixedArray.find(data)
    assert array.nelements == nchunks
    halves = [(offsets[part], sizes[part]) for part in (slice(0, nchunks // 3), slice(nchunks // 3, None))]
    ours = b"".join(array.fill(halves))
    assert len(ours) == array.nbytes
    assert ours == data[array.address : array.address + array.nbytes]


def test_end_of_file_is_the_superblocks(tmp_path: Path) -> None:
    path = tmp_path / "some.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file["a"] = np.arange(10)
    data = path.read_bytes()
    assert with_end_of_file(data, len(data)) == data
    path.write_bytes(with_end_of_file(data, len(data) + 1))
    with pytest.raises(OSError, match="truncated file"):
        h5py.File(path)


def test_file_without_an_array_is_told() -> None:
    with pytest.raises(StoreError, match="no Fixed Array"):
        FixedArray.find(b"FAHD" + bytes(100))
