"""A file of counts and a stream are read alike, and give the same counts."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsample as ss
from streamsample.counts import Counts
from streamsample.errors import PlanError, SelectionError, StoreError
from streamsample.geometry import Selection
from streamsample.posterior import Posterior
from streamsample.stores.hdf5_chunked import Hdf5Chunked
from streamsample.stream import CountStream
from streamsample.target import STORES
from tests.posteriors import arrays, listed, named_posterior

SHAPE = (5, 26, 19)
PART = Selection.of(SHAPE, samples=[1, 2, 4], cells=slice(2, 25), features=slice(None, None, 2))
FORMATS = tuple(STORES)


@pytest.fixture(scope="module")
def stream() -> CountStream:
    return CountStream(named_posterior(SHAPE), seed=3, selection=PART)


@pytest.fixture(scope="module", params=[*FORMATS, "gzip", "virtual"])
def counts(request: Any, stream: CountStream, tmp_path_factory: Any) -> Counts:
    folder: Path = tmp_path_factory.mktemp("counts")
    if request.param == "virtual":
        ss.save_virtual(stream, folder / "counts.virtual.h5")
        return ss.open(folder / "counts.virtual.h5")
    if request.param == "gzip":
        plan = ss.plan(stream, folder / "counts.h5", compression="gzip")
        return ss.open(ss.sample(stream, folder / "counts.h5", plan=plan))
    return ss.open(ss.sample(stream, folder / f"counts{request.param}"))


KEYS = [
    np.s_[:],
    np.s_[1],
    np.s_[2, 3, 4],
    np.s_[:, ::7, 1:9],
    np.s_[::-1, [20, 3, 3], 5],
    np.s_[..., [1, 8]],
    np.s_[[0, 2], 4:19:3, [0, 3, 4, 9]],
    np.s_[:, :, []],
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_a_slice_is_the_streams(counts: Counts, stream: CountStream, key: Any) -> None:
    expected = stream[key]
    found = counts[key]
    assert found.dtype == counts.dtype
    np.testing.assert_array_equal(found, expected)


def test_shape_names_and_selection_are_the_streams(counts: Counts, stream: CountStream) -> None:
    assert counts.shape == stream.shape == (3, 23, 10)
    assert (counts.ndim, counts.size, len(counts)) == (3, 690, 3)
    assert counts.selection.to_json() == stream.selection.to_json()
    for ours, theirs in zip(counts.names, stream.names, strict=True):
        assert listed(ours) == listed(theirs)
    assert all(0 < chunk <= size for chunk, size in zip(counts.chunks, counts.shape, strict=True))


def test_names_choose(counts: Counts, stream: CountStream) -> None:
    np.testing.assert_array_equal(counts.sel(feature=["gene18", "gene0"]), stream[:, :, [9, 0]])
    np.testing.assert_array_equal(counts.sel(cell="cell2", sample=1), stream[1, 0])
    with pytest.raises(SelectionError, match="there is no feature named 'gene1'"):
        counts.sel(feature="gene1")  # of the posterior, but not selected


def test_numpy_takes_it_whole(counts: Counts, stream: CountStream) -> None:
    np.testing.assert_array_equal(np.asarray(counts), stream[:])
    assert np.asarray(counts, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy=False"):
        np.array(counts, copy=False)


def test_it_goes_to_another_process(counts: Counts, stream: CountStream) -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(counts))[1, 2:9], stream[1, 2:9])


def test_wrong_keys_are_one_line(counts: Counts) -> None:
    with pytest.raises(SelectionError, match="counts have 3 axes"):
        counts[0, 0, 0, 0]
    with pytest.raises(SelectionError, match="cell 23 is out of bounds: the axis has 23"):
        counts[0, 23]


def test_counts_without_names_have_none(tmp_path: Path) -> None:
    stream = CountStream(Posterior.from_arrays(**arrays((2, 9, 3))), seed=1)
    for suffix in FORMATS:
        assert ss.open(ss.sample(stream, tmp_path / f"counts{suffix}")).names == (None, None)


def test_only_the_chunks_needed_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, wherever the positions lie."""
    stream = CountStream(named_posterior((3, 5000, 90)), seed=1)
    plan = ss.plan(stream, tmp_path / "counts.h5", compression="gzip", optimize_for="cell")
    counts = ss.open(ss.sample(stream, tmp_path / "counts.h5", plan=plan))
    _, ncells, nfeatures = counts.chunks
    assert nfeatures >= 6
    assert ncells < 2000
    fetched: list[tuple[int, ...]] = []
    fetch = Hdf5Chunked.chunks

    @contextmanager
    def watched(stored: Hdf5Chunked) -> Iterator[Any]:
        with fetch(stored) as inner:
            yield lambda *place: fetched.append(place) or inner(*place)

    monkeypatch.setattr(Hdf5Chunked, "chunks", watched)
    np.testing.assert_array_equal(counts[[2, 0], ::4900, [5, 1, 5]], stream[[2, 0], ::4900, [5, 1, 5]])
    assert sorted(fetched) == [(0, 0, 0), (0, 4900 // ncells, 0), (2, 0, 0), (2, 4900 // ncells, 0)]


def test_what_is_no_counts_is_one_line(tmp_path: Path) -> None:
    posterior = named_posterior((2, 4, 3))
    posterior.save(tmp_path / "posterior.h5")
    with pytest.raises(StoreError, match=r"its format is 'streamsample-posterior-1'"):
        ss.open(tmp_path / "posterior.h5")
    with pytest.raises(StoreError, match="there is no such file"):
        ss.open(tmp_path / "nothing.h5")
    with pytest.raises(PlanError, match=r"has the suffix '\.txt'"):
        ss.open(tmp_path / "nothing.txt")
    path = ss.sample(CountStream(posterior), tmp_path / "counts.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="cut short"):
        ss.open(path)[:]
