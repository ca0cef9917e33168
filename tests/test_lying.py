"""Draws that lie in their file as they are: the same read without HDF5 as with it, and HDF5 wherever that can't be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from streamsample.errors import PosteriorError
from streamsample.lying import MOST_CALLS
from streamsample.posterior import Posterior
from streamsample.posterior_file import FileSource
from tests.posteriors import arrays, second

SHAPE = (20, 8, 7)


def source_of(path: Path) -> FileSource:
    source = Posterior.open(path).source
    assert isinstance(source, FileSource)
    return source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Posterior.from_arrays(**second(SHAPE)).save(tmp_path / "posterior.h5")
    return tmp_path / "posterior.h5"


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("samples", [[3], [4, 0, 19], [7, 7]])
@pytest.mark.parametrize("features", [None, [0], [6, 2], [1, 1, 5]])
def test_the_same_is_read_as_by_hdf5(tmp_path: Path, dtype: str, samples: list[int], features: Any) -> None:
    path = tmp_path / "posterior.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.attrs["format"], file.attrs["n_cells"] = "streamsample-posterior-1", 8
        for name in ("mu", "phi", "alpha"):
            file[name] = arrays(SHAPE)[name].astype(dtype)
    source = source_of(path)
    chosen = np.array(samples), None if features is None else np.array(features)
    assert source.lying is not None
    assert source.lying.read(path, *chosen) is not None
    ours, theirs = source.read(*chosen), replace(source, lying=None).read(*chosen)
    for mine, other in zip(ours.arrays, theirs.arrays, strict=True):
        assert mine.dtype == np.float64
        assert mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, other)


def test_a_few_rows_are_read_without_hdf5(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = Posterior.open(path)
    monkeypatch.setattr(h5py, "File", None)
    block = posterior.read(np.array([3]), np.array([4]))
    assert block.beta is not None
    assert block.beta[0, :, 0].tolist() == second(SHAPE)["beta"][3, :, 4].tolist()


def test_many_rows_are_for_hdf5(path: Path) -> None:
    lying = source_of(path).lying
    assert lying is not None
    lines = sum(int(np.prod(place.shape[1:-1])) for place in lying.places.values())
    most = MOST_CALLS // lines
    assert lying.read(path, np.arange(most), None) is not None
    assert lying.read(path, np.arange(most + 1), None) is None


@pytest.mark.parametrize("how", [{"chunks": True}, {"compression": "gzip"}, {"external": [("draws.bin", 0, 560)]}])
def test_draws_that_are_encoded_or_elsewhere_are_for_hdf5(path: Path, how: dict[str, Any]) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # of external files
    try:
        with h5py.File(path, "r+") as file:
            phi = file["phi"][:].astype("f4")
            del file["phi"]
            file.create_dataset("phi", data=None if "external" in how else phi, shape=phi.shape, dtype="f4", **how)
            file["phi"][:] = phi
        source = source_of(path)
        assert source.lying is None
        np.testing.assert_array_equal(source.read(np.array([2])).phi[0], phi[2])
    finally:
        os.chdir(here)


def test_a_file_that_took_the_others_place_is_for_hdf5(path: Path) -> None:
    source, other = source_of(path), second(SHAPE, seed=5)
    Posterior.from_arrays(**other, feature_names=list("abcdefg")).save(path, overwrite=True)  # elsewhere in the file
    np.testing.assert_array_equal(source.read(np.array([2])).phi[0], other["phi"][2])


def test_a_file_that_is_cut_off_or_goes_away_is_one_line(path: Path) -> None:
    source = source_of(path)
    assert source.lying is not None
    os.truncate(path, 3000)
    now = os.stat(path)
    unaware = replace(source.lying, stamp=(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns))
    for reader in (source, replace(source, lying=unaware)):
        with pytest.raises(PosteriorError, match="is not a readable HDF5 file"):
            reader.read(np.array([2]))
    path.unlink()
    with pytest.raises(PosteriorError, match="there is no such file"):
        source.read(np.array([2]))
