"""``.zarr``: format 3, sharded; each shard is a file to which encoded chunks are appended, with its index at the end.

zarr-python encodes and assembles a whole shard in memory, and took 0.7 to 1.1 s for 100 M counts that the kernel makes
in 0.2 (docs/formats.md). A shard is simple enough to be written as it comes: chunks in any order, and an index that
says where they are. While a run is under way there is no index yet, and the journal alone knows where chunks are;
`finish` may therefore be cut off and repeated.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamsample.chunking import Chunking
from streamsample.errors import CorruptSlab, StoreError
from streamsample.stores.base import Labels
from streamsample.stores.checksums import checksum
from streamsample.stores.chunk_reader import ChunkedStored, Fetch
from streamsample.stores.chunked import ChunkedLanding, Placed, check_there, ends_of, placed
from streamsample.stores.disk import create_file, refusal, sync_folder, write_all
from streamsample.stores.encoder import Piece
from streamsample.stores.journal import Line
from streamsample.stores.manifest import Manifest
from streamsample.stores.seal import is_sealed
from streamsample.stores.zarr_frame import COUNTS, ROOT, frame, frame_names

_MISSING = np.uint64(2**64 - 1)
_CHECK_NBYTES = 4
_OPEN_SHARDS = 4


class ZarrStore:
    """Writes and reads ``NAME.zarr``."""

    is_folder = True

    def files(self, path: Path) -> tuple[Path, ...]:
        """All is in one folder."""
        return (path,)

    def begin(
        self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line], threads: int = 1
    ) -> ChunkedLanding:
        """Write all metadata, and append to the shards that are there."""
        shards, ends = _Shards.of(path, manifest), ends_of(lines)
        check_there(ends, shards.path_of)
        _write_frame(path, manifest, shards.chunking, labels)
        return ChunkedLanding(manifest, shards.chunking, ends, shards.path_of, shards.key_of, threads)

    def finish(self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line]) -> None:
        """Add its index to each shard, and write the metadata once more, with the checksums."""
        shards = _Shards.of(path, manifest)
        for key, end, index in shards.indices(lines):
            _write_index(shards.path_of(key), end, index)
        _write_frame(path, manifest, shards.chunking, labels)

    def open(self, path: Path) -> ZarrStored:
        """Read the manifest."""
        if not path.is_dir():
            what = "is no folder" if path.exists() else "there is no such file"
            raise StoreError(f"{path}: {what}")
        try:
            items = json.loads((path / ROOT).read_bytes())["attributes"]
            chunks = json.loads((path / COUNTS / ROOT).read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is not a readable .zarr of counts ({type(error).__name__}: {error})") from error
        if not isinstance(items, dict) or not isinstance(chunks, dict):
            raise StoreError(f"{path} is not a readable .zarr of counts (its metadata are no objects)")
        manifest = Manifest.from_json(items, str(path))
        kept = chunks.get("shape"), chunks.get("data_type")
        if kept != (list(manifest.shape), manifest.dtype):
            raise StoreError(f"{path} holds {kept[1]} {kept[0]}, its manifest says {manifest.dtype} {manifest.shape}")
        return ZarrStored(path, manifest, _Shards.of(path, manifest))


class _Shards:
    """Which file holds which chunk."""

    def __init__(self, path: Path, manifest: Manifest, chunking: Chunking) -> None:
        if chunking.shards is None:
            raise StoreError(f"the manifest in {path} is damaged: it has no shards")
        self.chunking = chunking
        self._path = path
        self._shape = manifest.shape
        self._samples, cells, _ = chunking.shards
        self._rows = cells // chunking.chunks[1]
        self._columns = chunking.grid(manifest.shape)[2]

    @classmethod
    def of(cls, path: Path, manifest: Manifest) -> _Shards:
        """Return the shards of a manifest."""
        chunking = Chunking.of_layout(manifest.layout)
        if chunking is None:
            raise StoreError(f"the manifest in {path} is damaged: .zarr always has chunks")
        return cls(path, manifest, chunking)

    @property
    def index_shape(self) -> tuple[int, int]:
        """Entries of a shard's index, each an offset and a length."""
        return self._samples * self._rows * self._columns, 2

    def path_of(self, key: str) -> Path:
        """Return the file of a key."""
        return self._path / COUNTS / key

    def key_of(self, piece: Piece) -> str:
        """Return the key of a piece's file."""
        return self.place(piece.s, piece.n0 // self.chunking.chunks[1], 0)[0]

    def place(self, s: int, i: int, j: int) -> tuple[str, int]:
        """Return the key of a chunk's file, and its entry there; `s`, `i`, `j` are its place in the grid."""
        key = f"c.{s // self._samples}.{i // self._rows}.0"
        return key, (s % self._samples * self._rows + i % self._rows) * self._columns + j

    def indices(self, lines: Sequence[Line]) -> Iterator[tuple[str, int, NDArray[np.uint64]]]:
        """Return key, end of the chunks, and index of each shard."""
        places: dict[str, list[Placed]] = defaultdict(list)
        for there in placed(lines, self.chunking, self._shape):
            places[there.key].append(there)
        for key, end in ends_of(lines).items():
            index = np.full(self.index_shape, _MISSING, np.uint64)
            for there in places[key]:
                right, entry = self.place(there.s, there.i, 0)
                if right != key:
                    raise StoreError(f"{self._path}: its journal has chunks of {right} in {key}; start again")
                index[entry : entry + there.sizes.size] = np.column_stack([there.offsets, there.sizes])
            yield key, end, index


class ZarrStored(ChunkedStored):
    """Chunks within shards, decoded here."""

    def __init__(self, path: Path, manifest: Manifest, shards: _Shards) -> None:
        super().__init__(path, manifest, shards.chunking)
        self._shards = shards

    @contextmanager
    def chunks(self) -> Iterator[Fetch]:
        """Open shards as they are needed, a few at a time."""
        opened: OrderedDict[str, tuple[int, NDArray[np.uint64]]] = OrderedDict()
        try:
            yield partial(self._fetch, opened)
        finally:
            for descriptor, _ in opened.values():
                os.close(descriptor)

    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless names, metadata and the manifest are as they were written.

        Each shard's index has a checksum of its own, which is compared when a chunk is read.
        """
        try:
            data = b"".join((self.path / name).read_bytes() for name in frame_names())
            seal = str(json.loads((self.path / ROOT).read_bytes())["attributes"]["seal"]).encode()
        except (OSError, ValueError, KeyError) as error:
            raise CorruptSlab(f"{self.path} is damaged outside of its counts ({error}); write it again") from error
        if not is_sealed(data, seal):
            raise CorruptSlab(
                f"{self.path} is damaged outside of its counts: names, metadata and the manifest do not have their "
                "seal; write it again"
            )

    def _fetch(self, opened: OrderedDict[str, tuple[int, NDArray[np.uint64]]], s: int, i: int, j: int) -> bytes:
        """Read an encoded chunk."""
        key, entry = self._shards.place(s, i, j)
        try:
            if key not in opened:
                if len(opened) == _OPEN_SHARDS:
                    os.close(opened.popitem(last=False)[1][0])
                descriptor = os.open(self._shards.path_of(key), os.O_RDONLY | os.O_CLOEXEC)
                opened[key] = descriptor, np.empty((0, 2), np.uint64)
                opened[key] = descriptor, _read_index(descriptor, self._shards.index_shape)
            descriptor, index = opened[key]
            offset, nbytes = (int(value) for value in index[entry])
            if offset == _MISSING:
                raise ValueError("it is not there")
            return os.pread(descriptor, nbytes, offset)
        except OSError as error:
            raise ValueError(str(error)) from error


def _write_frame(path: Path, manifest: Manifest, chunking: Chunking, labels: Labels) -> None:
    """Write every file but the shards; they last on return."""
    try:
        path.mkdir(exist_ok=True)
        for name, data in frame(manifest, chunking, labels).items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            create_file(file, data)
        inside = {folder for name in frame_names() for folder in (path / name).parents if path in folder.parents}
        for folder in (*inside, path):
            sync_folder(folder)
        sync_folder(path.parent)
    except OSError as error:
        raise refusal(path, error) from error


def _write_index(path: Path, end: int, index: NDArray[np.uint64]) -> None:
    """Put a shard's index after its chunks, with nothing after it; it lasts on return."""
    data = index.astype("<u8").tobytes()
    data += checksum(data).to_bytes(_CHECK_NBYTES, "little")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(descriptor, memoryview(data), end)
            os.ftruncate(descriptor, end + len(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(path, error) from error


def _read_index(descriptor: int, shape: tuple[int, int]) -> NDArray[np.uint64]:
    """Read a shard's index; raises `ValueError` where it does not have its checksum."""
    nbytes = shape[0] * shape[1] * 8
    begin = max(0, os.fstat(descriptor).st_size - nbytes - _CHECK_NBYTES)
    data = os.pread(descriptor, nbytes + _CHECK_NBYTES, begin)
    if checksum(data[:nbytes]).to_bytes(_CHECK_NBYTES, "little") != data[nbytes:]:
        raise ValueError("the index at the end of its file does not have its checksum")
    return np.frombuffer(data[:nbytes], "<u8").reshape(shape)
