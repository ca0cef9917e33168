from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.errors import CorruptSlab, StoreError
from streamsample.geometry import Slab, slabs
from streamsample.stores.base import Labels, Store
from tests.fake_stream import FakeStream, fake_posterior
from tests.stores.chunked import ChunkedContract

zarr = pytest.importorskip("zarr")


class ZarrContract(ChunkedContract):
    suffix = ".zarr"
    test_truncated_file_is_refused = None  # a folder: test_shard_cut_short_is_found

    def data_file(self, path: Path) -> Path:
        return path / "counts" / "c.2.0.0"

    def read_as_others_do(self, path: Path) -> Any:
        return zarr.open_group(path, mode="r")["counts"][:]


class TestLz4(ZarrContract):
    codec = "lz4"


class TestZstd(ZarrContract):
    codec = "zstd"

    def test_shards_are_files_and_the_manifest_is_there(self, store: Store, path: Path, stream: FakeStream) -> None:
        written = self.written(store, path, stream)
        group = zarr.open_group(path, mode="r")
        counts = group["counts"]
        assert (counts.chunks, counts.shards, counts.dtype) == ((1, 4, 3), (2, 12, 12), np.uint16)
        assert counts.metadata.dimension_names == ("sample", "cell", "feature")
        shards = {f"c.{s}.{n}.0" for s in range(3) for n in range(2)}
        assert {file.name for file in (path / "counts").iterdir()} == shards | {"zarr.json"}
        promised = json.loads(json.dumps(written.to_json()))
        assert {name: group.attrs[name] for name in promised} == promised

    @pytest.mark.parametrize("named", [True, False])
    def test_opens_in_xarray_with_names(self, store: Store, path: Path, named: bool) -> None:
        xarray = pytest.importorskip("xarray")
        stream = FakeStream(fake_posterior((6, 21, 10), named=named))
        self.written(store, path, stream)
        with xarray.open_zarr(path) as data:
            assert data["counts"].dims == ("sample", "cell", "feature")
            assert data["counts"].dtype == np.uint16
            gene = data["counts"].sel(feature="gene3" if named else 3)
            np.testing.assert_array_equal(gene, stream.counts()[:, :, 3])
            assert data.attrs["posterior_digest"] == stream.posterior.digest()

    def test_shard_is_appended_to_by_slabs_of_any_sample(self, store: Store, path: Path, stream: FakeStream) -> None:
        cut = [*slabs(0, 6, 21, 1, 4)]
        np.random.default_rng(3).shuffle(cut)  # type: ignore[arg-type]  # a list of slabs
        self.finished(store, path, stream, self.landed(store, path, stream, cut))
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())

    def test_damaged_metadata_and_names_are_found(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        files = [file for file in path.rglob("*") if file.is_file() and file.parent.name != "counts"]
        random = np.random.default_rng(0)
        for file in [*files * 5, path / "counts" / "zarr.json"]:
            data = file.read_bytes()
            at = int(random.integers(len(data)))
            file.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            with pytest.raises(StoreError) as error:
                store.open(path).check_frame()
            assert "\n" not in str(error.value)
            file.write_bytes(data)
        store.open(path).check_frame()

    def test_shard_cut_short_is_found(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        file = self.data_file(path)
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(CorruptSlab, match="the index at the end of its file does not have its checksum"):
            store.open(path).read(Slab(5, 6, 0, 21))
        file.unlink()
        with pytest.raises(CorruptSlab, match=r"sample 5, cells 0:4, features 0:3 can't .*No such file"):
            store.open(path).read(Slab(5, 6, 0, 21))

    def test_codecs_that_zarr_lacks_are_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        layout = replace(self.chunking(stream), codec="gzip").to_layout()
        with pytest.raises(StoreError, match="choose zstd or lz4"):
            store.begin(path, replace(self.manifest(stream), layout=layout), Labels(), ())
