"""What every store must do; a new store inherits these tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.errors import StoreError
from streamsample.geometry import Selection, Slab, slabs
from streamsample.stores import describe
from streamsample.stores.base import Labels, Store, store_for
from streamsample.stores.checksums import checksum
from streamsample.stores.coverage import Coverage
from streamsample.stores.journal import Line
from streamsample.stores.manifest import Manifest
from streamsample.stores.places import length_of
from streamsample.stores.table import table_of
from tests.fake_stream import FakeStream, fake_posterior

SHAPE = (6, 21, 10)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class StoreContract:
    """Subclass it with a suffix, and with how others read such files."""

    suffix: str
    raw = True
    """Whether the bytes of a finished file do not depend on how it came to be."""

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

    def manifest(self, stream: FakeStream) -> Manifest:
        """The identity of a run that writes a stream."""
        return Manifest(stream.seed, stream.posterior.digest(), stream.selection, "uint16")

    def written(
        self, store: Store, path: Path, stream: FakeStream, slab_samples: int = 1, slab_cells: int = 8
    ) -> Manifest:
        """Write all of a stream, slab by slab."""
        cut = slabs(0, stream.shape[0], stream.shape[1], slab_samples, slab_cells)
        return self.finished(store, path, stream, self.landed(store, path, stream, cut))

    def landed(
        self, store: Store, path: Path, stream: FakeStream, cut: Iterable[Slab], before: tuple[Line, ...] = ()
    ) -> tuple[Line, ...]:
        """Write some slabs, in a run of their own, and return what the journal says then."""
        landing = store.begin(path, self.manifest(stream), Labels.of(stream.posterior, stream.selection), before)
        lines = list(before)
        for slab in cut:
            counts = np.ascontiguousarray(stream.counts()[slab.s0 : slab.s1, slab.n0 : slab.n1].astype(np.uint16))
            runs = landing.write(slab, counts)
            lines.append(Line(slab, tuple(checksum(sample.data.cast("B")) for sample in counts), runs))
        landing.sync()
        landing.close()
        return tuple(lines)

    def finished(self, store: Store, path: Path, stream: FakeStream, lines: tuple[Line, ...]) -> Manifest:
        """Finish an output that is written."""
        manifest = self.manifest(stream)
        done = manifest.completed(table_of(lines, stream.shape, "uint16"))
        store.finish(path, done, Labels.of(stream.posterior, stream.selection), lines)
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
        store.begin(path, self.manifest(stream), Labels(), ()).close()
        try:
            found = store.open(path).manifest
        except StoreError:  # unreadable until it is finished: that says so, too
            return
        assert not found.complete

    @pytest.mark.parametrize("cuts", [((1, 8), (2, 21)), ((3, 21), (1, 4)), ((1, 4), (1, 8))])
    def test_resumed_with_other_slabs_gives_the_same_counts(
        self, store: Store, path: Path, stream: FakeStream, cuts: tuple[tuple[int, int], tuple[int, int]]
    ) -> None:
        first = [*slabs(0, 6, 21, *cuts[0])][1::3]  # with holes, as a kill may leave them
        lines = self.landed(store, path, stream, first)
        there = Coverage()
        for slab in first:
            there.add(slab)
        rest = [piece for slab in slabs(0, 6, 21, *cuts[1]) for piece in there.missing(slab)]
        done = self.finished(store, path, stream, self.landed(store, path, stream, rest, lines))
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())
        store.open(path).check_frame()
        other = path.with_name(f"whole{self.suffix}")
        assert self.written(store, other, stream, 6, 21).checks == done.checks
        if self.raw:
            assert [file.read_bytes() for file in store.files(path)] == [
                file.read_bytes() for file in store.files(other)
            ]

    def test_finishing_twice_changes_nothing(self, store: Store, path: Path, stream: FakeStream) -> None:
        lines = self.landed(store, path, stream, slabs(0, 6, 21, 1, 8))
        self.finished(store, path, stream, lines)
        before = contents(path.parent)
        self.finished(store, path, stream, lines)
        assert contents(path.parent) == before

    def test_beginning_anew_forgets_what_was_there(self, store: Store, path: Path, stream: FakeStream) -> None:
        other = FakeStream(stream.posterior, seed=1)
        self.landed(store, path, other, slabs(0, 6, 21, 1, 8))
        self.written(store, path, stream)
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())

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
        assert facts.nbytes == sum(length_of(file) for file in store.files(path))
        assert facts.nslabs == 6
        assert facts.written == 1.0
        assert facts.bytes_a_count == round(facts.nbytes / (6 * 21 * 10), 4)
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
