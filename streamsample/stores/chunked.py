"""Writing encoded chunks, one after the other in a file or in several: what compressed ``.h5`` and ``.zarr`` share."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.chunking import Chunking
from streamsample.errors import StoreError
from streamsample.geometry import Shape, Slab
from streamsample.memory_model import PIECE_NBYTES
from streamsample.stores.base import CountArray
from streamsample.stores.codecs import codec_of
from streamsample.stores.direct import BlockWriter
from streamsample.stores.disk import Check, refusal, sync_folder, unchecked
from streamsample.stores.encoder import Encoder, Piece, check_slab
from streamsample.stores.journal import Line, Run
from streamsample.stores.manifest import Manifest
from streamsample.units import format_bytes


class ChunkedLanding:
    """Encodes slabs and appends their chunks, wherever there is room: the journal says where.

    Parameters
    ----------
    manifest
        Of the run.
    chunking
        Its chunks.
    ends
        First free byte of each file that holds chunks, by key; files that are not among them begin at 0.
    path_of
        The file of a key; it is made where it is missing.
    key_of
        The key of the file that holds a piece.
    threads
        How many encode.
    """

    def __init__(
        self,
        manifest: Manifest,
        chunking: Chunking,
        ends: Mapping[str, int],
        path_of: Callable[[str], Path],
        key_of: Callable[[Piece], str],
        threads: int,
    ) -> None:
        self._ncells = manifest.shape[1]
        self._chunking = chunking
        self._ends = dict(ends)
        self._path_of = path_of
        self._key_of = key_of
        self._encoder = Encoder(chunking, codec_of(chunking.codec, "the plan"), threads)
        self._files: dict[str, BlockWriter] = {}  # written to since the last sync
        self._folders: set[Path] = set()  # that have got a new file since then
        self._waiting: list[bytes] = []  # encoded, for the file that is written to now

    def write(self, slab: Slab, counts: CountArray, check: Check = unchecked) -> tuple[Run, ...]:
        """Encode and write one slab of whole chunks; raises `DiskRefused` where the disk does not take it."""
        check_slab(slab, self._ncells, self._chunking)
        self._waiting = []  # of a slab that could not be written
        runs: list[tuple[str, int, array[int]]] = []
        for piece, data in self._encoder.encode(slab, counts):
            key = self._key_of(piece)
            if not runs or runs[-1][0] != key:
                if runs:
                    self._write_waiting(runs[-1][0], check)
                runs.append((key, self._ends.get(key, 0), array("I")))
            runs[-1][2].extend(map(len, data))
            self._waiting += data
            if sum(map(len, self._waiting)) >= PIECE_NBYTES:
                self._write_waiting(key, check)
        self._write_waiting(runs[-1][0], check)
        return tuple(Run(key, offset, np.asarray(sizes, "<u4").tobytes()) for key, offset, sizes in runs)

    def phase(self, slab: Slab) -> int:  # noqa: ARG002 (it is encoded, wherever it lies)
        """Any place will do."""
        return 0

    def sync(self) -> None:
        """Put everything on the disk, and let go of the files; a next slab opens the one it goes on with."""
        for key, file in self._files.items():
            try:
                file.sync()
                for folder in self._folders:
                    sync_folder(folder)
            except OSError as error:
                raise self._refusal(key, error) from error
        self._folders.clear()
        self._close_files()

    def close(self) -> None:
        """Let go of files and threads."""
        self._encoder.close()
        self._close_files()

    def _write_waiting(self, key: str, check: Check) -> None:
        """Append what is encoded to its file."""
        check()
        data, self._waiting = b"".join(self._waiting), []
        end = self._ends.get(key, 0)
        try:
            if key not in self._files:
                path = self._path_of(key)
                if key not in self._ends:
                    path.touch()
                    self._folders.add(path.parent)
                self._files[key] = BlockWriter(path)
            self._files[key].write(memoryview(data), end)
        except OSError as error:
            raise self._refusal(key, error) from error
        self._ends[key] = end + len(data)

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _refusal(self, key: str, error: OSError) -> Exception:
        """One line for an error of the disk."""
        return refusal(self._path_of(key), error, f"written after {format_bytes(sum(self._ends.values()))} of it")


def ends_of(lines: Iterable[Line], begin: int = 0) -> dict[str, int]:
    """Return the first free byte of each file that holds chunks; without any, they begin at `begin`."""
    ends: dict[str, int] = {}
    for line in lines:
        for run in line.runs:
            end = run.offset + int(np.frombuffer(run.sizes, "<u4").sum(dtype=np.int64))
            ends[run.key] = max(ends.get(run.key, begin), end)
    return ends


def check_there(ends: Mapping[str, int], path_of: Callable[[str], Path]) -> None:
    """Raise `StoreError` unless all files are there, as long as the journal says."""
    for key, end in ends.items():
        path = path_of(key)
        size = path.stat().st_size if path.is_file() else 0
        if size < end:
            raise StoreError(
                f"{path} has {size:,} bytes where its journal promises {end:,}, so it can't be continued; "
                "give overwrite=True (--overwrite) to start again"
            )


class Placed(NamedTuple):
    """Encoded chunks of one sample, whole rows of the grid one after the other."""

    s: int
    """Sample."""
    i: int
    """First row: cells by cells of a chunk."""
    key: str
    """The file."""
    offset: int
    """First byte."""
    sizes: NDArray[np.uint32]
    """Length of each chunk."""

    @property
    def offsets(self) -> NDArray[np.uint64]:
        """First byte of each chunk."""
        return np.uint64(self.offset) + np.cumsum(self.sizes, dtype=np.uint64) - self.sizes


def placed(lines: Iterable[Line], chunking: Chunking, shape: Shape) -> Iterator[Placed]:
    """Say where the chunks of slabs lie, a sample of a slab at a time, in the order of the lines."""
    columns = chunking.grid(shape)[2]
    for line in lines:
        slab, cells = line.slab, chunking.chunks[1]
        rows, done = -(-slab.ncells // cells), 0  # in a sample of the slab; of the slab so far
        for run in line.runs:
            sizes, offset = np.frombuffer(run.sizes, "<u4"), run.offset
            while sizes.size:
                row = done % rows
                there = sizes[: (rows - row) * columns]
                yield Placed(slab.s0 + done // rows, slab.n0 // cells + row, run.key, offset, there)
                offset += int(there.sum(dtype=np.int64))
                done += there.size // columns
                sizes = sizes[there.size :]
