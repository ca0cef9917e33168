"""What every store of encoded chunks must do, beside what every store must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamsample.chunking import Chunking
from streamsample.errors import StoreError
from streamsample.geometry import Slab, slabs
from streamsample.stores.base import Labels, Store
from streamsample.stores.manifest import Manifest
from streamsample.stores.places import remove
from tests.fake_stream import FakeStream
from tests.stores.contract import StoreContract


class ChunkedContract(StoreContract):
    """Subclass it with a codec, too."""

    raw = False
    codec: str
    test_counts_start_aligned = None  # chunks begin where there is room

    def chunking(self, stream: FakeStream) -> Chunking:
        """Chunks and shards that end neither together nor where the axes do."""
        _, ncells, nfeatures = stream.shape
        cells, features = min(4, ncells), max(1, nfeatures // 3)
        shards = 2, min(3, -(-ncells // cells)) * cells, -(-nfeatures // features) * features
        return Chunking((1, cells, features), self.codec, shards if self.suffix == ".zarr" else None)

    def manifest(self, stream: FakeStream) -> Manifest:
        return replace(super().manifest(stream), layout=self.chunking(stream).to_layout())

    def data_file(self, path: Path) -> Path:
        """A file that holds chunks."""
        raise NotImplementedError

    def test_what_the_journal_does_not_know_is_written_over(self, store: Store, path: Path, stream: FakeStream) -> None:
        cut = [*slabs(0, 6, 21, 1, 8)]
        lines = self.landed(store, path, stream, cut[:7])
        self.landed(store, path, stream, cut[7:], lines)  # and then the machine stops, before the journal is written
        with self.data_file(path).open("ab") as file:
            file.write(bytes(100_000))
        lines = self.landed(store, path, stream, cut[7:], lines)
        self.finished(store, path, stream, lines)
        np.testing.assert_array_equal(self.read_as_others_do(path), stream.counts())
        whole = path.with_name(f"whole{self.suffix}")
        self.finished(store, whole, stream, self.landed(store, whole, stream, cut))
        assert self.data_file(path).stat().st_size == self.data_file(whole).stat().st_size

    def test_chunks_that_are_gone_are_told(self, store: Store, path: Path, stream: FakeStream) -> None:
        lines = self.landed(store, path, stream, slabs(0, 6, 21, 1, 8))
        file = self.data_file(path)
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(StoreError, match=r"bytes where its journal promises .* can't be continued"):
            store.begin(path, self.manifest(stream), Labels(), lines)
        remove(path)
        with pytest.raises(StoreError, match="has 0 bytes where its journal promises"):
            store.begin(path, self.manifest(stream), Labels(), lines)

    def test_slabs_that_cut_chunks_are_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        landing = store.begin(path, self.manifest(stream), Labels(), ())
        with pytest.raises(StoreError, match="cells 2:6 of a slab are not whole chunks of 4 cells"):
            landing.write(Slab(0, 1, 2, 6), np.zeros((1, 4, 10), np.uint16))
        landing.close()

    def test_threads_do_not_change_the_bytes(self, store: Store, path: Path, stream: FakeStream) -> None:
        written = []
        for threads in (1, 3):
            landing = store.begin(path, self.manifest(stream), Labels(), (), threads)
            runs = landing.write(Slab(0, 6, 0, 21), stream.counts().astype(np.uint16))
            landing.sync()
            landing.close()
            written.append((runs, self.data_file(path).read_bytes()))
        assert written[0] == written[1]

    def test_no_flipped_byte_of_the_chunks_gives_a_traceback(
        self, store: Store, path: Path, stream: FakeStream
    ) -> None:
        self.written(store, path, stream)
        file = self.data_file(path)
        data, stored, whole = file.read_bytes(), store.open(path), Slab(0, 6, 0, 21)
        found, begin = 0, data.index(stored_chunk(store, path))
        tried = np.random.default_rng(1).integers(begin, len(data), 60)
        for at in tried.tolist():
            file.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
            try:
                found += int((stored.read(whole) != stream.counts()).any())
            except StoreError:
                found += 1
        assert found > len(tried) / 2  # the others are reserved bits, which no decoder looks at


def stored_chunk(store: Store, path: Path) -> bytes:
    """A chunk as it is encoded."""
    with store.open(path).chunks() as fetch:  # type: ignore[attr-defined]  # a store of chunks
        return bytes(fetch(4, 0, 0))
