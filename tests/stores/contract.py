"""What every store must do; a new store inherits these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.errors import StoreError
from streamsample.geometry import Selection, Slab, slabs
from streamsample.stores import describe
from streamsample.stores.base import Labels, Store, store_for
from streamsample.stores.manifest import Manifest, SlabCheck
from tests.fake_stream import FakeStream, fake_posterior

SHAPE = (6, 21, 10)


class StoreContract:
    """Subclass it with a suffix, and with how others read such files."""

    suffix: str

    def read_as_others_do(self, path: Path) -> Any:
        """All counts, read without streamsample."""
        raise NotImplementedError

    @pytest.fixture
    def stream(self) -> FakeStream:
        return FakeStream(fake_posterior(SHAPE), seed=2**64 - 1)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / f"counts{self.suffix}"

    @pytest.fixture
    def store(self, path: Path) -> Store:
        return store_for(path)

    def written(
        self, store: Store, path: Path, stream: FakeStream, slab_samples: int = 1, slab_cells: int = 8
    ) -> Manifest:
        """Write all of a stream, slab by slab."""
        manifest = Manifest(stream.seed, stream.posterior.digest(), stream.selection, "uint16")
        landing = store.create(path, manifest, Labels.of(stream.posterior, stream.selection))
        checks = []
        for slab in slabs(0, stream.shape[0], stream.shape[1], slab_samples, slab_cells):
            counts = stream.counts()[slab.s0 : slab.s1, slab.n0 : slab.n1].astype(np.uint16)
            landing.write(slab, np.ascontiguousarray(counts))
            checks.append(SlabCheck(slab, 2**64 - 1 - slab.n0))
        landing.close()
        done = manifest.completed(tuple(checks))
        store.finish(path, done)
        return done

    def test_counts_are_those_of_the_stream_for_anyone(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        counts = self.read_as_others_do(path)
        assert counts.dtype == np.uint16
        np.testing.assert_array_equal(counts, stream.counts())

    @pytest.mark.parametrize("cut", [(1, 4), (1, 21), (2, 21), (4, 21), (6, 21)])
    def test_any_slabs_give_the_same_counts(
        self, store: Store, path: Path, stream: FakeStream, cut: tuple[int, int]
    ) -> None:
        self.written(store, path, stream, *cut)
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())

    def test_reads_back_any_slab(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        stored = store.open(path)
        for slab in (Slab(0, 1, 0, 21), Slab(5, 6, 8, 21), Slab(2, 5, 0, 21)):
            expected = stream.counts()[slab.s0 : slab.s1, slab.n0 : slab.n1]
            np.testing.assert_array_equal(stored.read(slab), expected)

    def test_manifest_comes_back_whole(self, store: Store, path: Path, stream: FakeStream) -> None:
        written = self.written(store, path, stream)
        assert store.open(path).manifest.to_json() == written.to_json()
        assert written.to_json()["seed"] == 2**64 - 1
        assert store.open(path).manifest.complete

    def test_unfinished_output_says_so(self, store: Store, path: Path, stream: FakeStream) -> None:
        manifest = Manifest(stream.seed, stream.posterior.digest(), stream.selection, "uint16")
        store.create(path, manifest, Labels()).close()
        assert not store.open(path).manifest.complete

    def test_irregular_selection_of_any_length(self, store: Store, path: Path) -> None:
        # 20,000 irregular indices are 160 KB, more than an HDF5 attribute holds.
        posterior = fake_posterior((1, 40_000, 2), named=False)
        cells = np.sort(np.random.default_rng(0).permutation(40_000)[:20_000])
        stream = FakeStream(posterior, chosen=Selection.of(posterior.shape, cells=cells))
        self.written(store, path, stream, 1, 20_000)
        found = store.open(path).manifest.selection
        np.testing.assert_array_equal(found.cells, cells)
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())

    def test_counts_start_aligned(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        first = stream.counts().astype(np.uint16).tobytes()
        assert path.read_bytes().index(first) % 4096 == 0

    def test_describe(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        facts = describe(path)
        assert (facts.shape, facts.dtype, facts.seed, facts.complete) == (SHAPE, "uint16", 2**64 - 1, True)
        assert facts.posterior_digest == stream.posterior.digest()
        assert facts.nbytes == sum(file.stat().st_size for file in store.files(path))
        assert facts.nslabs == 18
        assert facts.selection == {"sample_index": "0:6:1", "cell_index": "0:21:1", "feature_index": "0:10:1"}

    def test_missing_file_is_one_line(self, store: Store, path: Path) -> None:
        with pytest.raises(StoreError, match="there is no such file"):
            store.open(path)

    def test_other_files_are_refused(self, store: Store, path: Path) -> None:
        for file in store.files(path):
            file.write_text("not counts\n")
        with pytest.raises(StoreError) as error:
            store.open(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    def test_truncated_file_is_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        with path.open("rb+") as file:
            file.truncate(5000)
        with pytest.raises(StoreError):
            store.open(path).read(Slab(5, 6, 0, 21))
