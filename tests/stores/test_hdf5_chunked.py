from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from streamsample.errors import CorruptSlab, StoreError
from streamsample.geometry import Slab, slabs
from streamsample.stores import hdf5_chunked
from streamsample.stores.base import Labels, Store
from tests.fake_stream import FakeStream, fake_posterior
from tests.stores.chunked import ChunkedContract


def check(store: Store, path: Path) -> None:
    """Look at every byte."""
    stored = store.open(path)
    stored.check_frame()
    stored.read(Slab(0, 6, 0, 21))


class Hdf5Contract(ChunkedContract):
    suffix = ".h5"

    def data_file(self, path: Path) -> Path:
        return path

    def read_as_others_do(self, path: Path) -> Any:
        import hdf5plugin  # noqa: F401 (registers its filters)

        with h5py.File(path, "r") as file:
            return file["counts"][:]

    def test_opens_in_xarray_with_names(self, store: Store, path: Path, stream: FakeStream) -> None:
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        pytest.importorskip("hdf5plugin")
        self.written(store, path, stream)
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            assert data.counts.dims == ("sample", "cell", "feature")
            np.testing.assert_array_equal(data.counts.sel(feature="gene3").values, stream.counts()[:, :, 3])
            np.testing.assert_array_equal(data.counts.values, stream.counts())


class TestZstd(Hdf5Contract):
    codec = "zstd"


class TestLz4(Hdf5Contract):
    codec = "lz4"


class TestGzip(Hdf5Contract):
    codec = "gzip"

    def test_plain_h5py_and_xarray_read_it(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        script = (
            "import h5py, sys, xarray\n"
            "print(h5py.File(sys.argv[1])['counts'][:].sum(), 'hdf5plugin' in sys.modules)\n"
            "print(xarray.open_dataset(sys.argv[1], engine='h5netcdf').counts.sel(feature='gene3').values.sum())"
        )
        pytest.importorskip("h5netcdf")
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(stream.counts().sum()), "False", str(stream.counts()[:, :, 3].sum())]

    def test_hdf5_goes_on_with_the_file_as_with_its_own(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        with h5py.File(path, "r+") as file:
            file["more"] = np.arange(1000)
            file["counts"][2, 3, 4] = 7
        expected = stream.counts()
        expected[2, 3, 4] = 7
        np.testing.assert_array_equal(self.read_as_others_do(path), expected)

    def test_index_of_many_pages(self, store: Store, path: Path) -> None:
        stream = FakeStream(fake_posterior((9, 801, 3)))  # 5,427 chunks: five whole pages and a part
        lines = self.landed(store, path, stream, slabs(0, 9, 801, 1, 400))
        self.finished(store, path, stream, lines)
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())
        with h5py.File(path) as file:
            assert file["counts"].id.get_num_chunks() == 9 * 201 * 3

    def test_damaged_frame_and_index_are_found(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        data = path.read_bytes()
        with h5py.File(path) as file:
            begin = int(file.attrs[hdf5_chunked.BEGIN])
        for i, at in enumerate(np.random.default_rng(0).integers(0, begin, 80).tolist()):
            # A file of its own each: HDF5 can't always let go of a damaged one, and would mix it up with the next.
            damaged = path.with_name(f"{i}.h5")
            damaged.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            with pytest.raises(StoreError) as error:
                check(store, damaged)
            assert "\n" not in str(error.value)

    def test_time_is_not_in_the_file(
        self, store: Store, path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []
        create = h5py.h5d.create

        def recorded(*arguments: Any, dcpl: Any, **options: Any) -> Any:
            asked.append(dcpl.get_obj_track_times())
            return create(*arguments, dcpl=dcpl, **options)

        monkeypatch.setattr(h5py.h5d, "create", recorded)
        self.written(store, path, stream)
        assert asked
        assert not any(asked)

    def test_file_cut_short_is_found(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(StoreError, match="is cut short"):
            store.open(path)

    def test_missing_chunk_is_told_by_its_address(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.landed(store, path, stream, slabs(0, 3, 21, 1, 8))  # not finished: HDF5's index is empty
        with pytest.raises(CorruptSlab, match="the chunk of sample 1, cells 4:8, features 0:3 can't be decoded"):
            store.open(path).read(Slab(1, 2, 5, 9))

    def test_frame_that_grows_over_the_chunks_is_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        lines = self.landed(store, path, stream, slabs(0, 3, 21, 1, 8))
        long = Labels(features=np.array(["x" * 5000] * 10))  # as another version of HDF5 may need more room
        with pytest.raises(StoreError, match="this version of HDF5 would put them at"):
            store.begin(path, self.manifest(stream), long, lines)

    def test_a_single_chunk_is_refused(self, store: Store, path: Path) -> None:
        stream = FakeStream(fake_posterior((1, 1, 1)))
        with pytest.raises(StoreError, match=r"too few to be compressed in \.h5; choose none"):
            store.begin(path, self.manifest(stream), Labels(), ())
