from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from streamsample.stores.base import Store
from tests.fake_stream import FakeStream, fake_posterior
from tests.stores.contract import StoreContract


class TestHdf5(StoreContract):
    suffix = ".h5"

    def read_as_others_do(self, path: Path) -> Any:
        with h5py.File(path, "r") as file:
            return file["counts"][:]

    def test_dataset_is_contiguous_and_allocated(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        with h5py.File(path, "r") as file:
            counts = file["counts"]
            assert counts.chunks is None
            assert counts.id.get_storage_size() == stream.counts().size * 2
            assert [dim.label or dim.keys()[0] for dim in counts.dims] == ["sample", "cell", "feature"]

    @pytest.mark.parametrize("named", [True, False])
    def test_opens_in_xarray_with_names(self, store: Store, path: Path, named: bool) -> None:
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        stream = FakeStream(fake_posterior((6, 21, 10), named=named))
        self.written(store, path, stream)
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            assert data["counts"].dims == ("sample", "cell", "feature")
            gene = data["counts"].sel(feature="gene3" if named else 3)
            np.testing.assert_array_equal(gene, stream.counts()[:, :, 3])
            assert data.attrs["posterior_digest"] == stream.posterior.digest()
