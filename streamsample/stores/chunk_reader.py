"""Reading encoded chunks back: one thread reads, and all processors decode."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from streamsample.chunking import Chunking
from streamsample.errors import CorruptSlab
from streamsample.geometry import Slab, index_words
from streamsample.stores.base import CountArray
from streamsample.stores.codecs import codec_of
from streamsample.stores.manifest import Manifest

Fetch = Callable[[int, int, int], bytes]
"""Reads one encoded chunk, by its place in the grid of chunks."""

_AT_ONCE = 64
"""Chunks that a thread decodes at once."""


class ChunkedStored(ABC):
    """Reads encoded chunks.

    Parameters
    ----------
    path
        The output.
    manifest
        Its manifest.
    chunking
        Its chunks.
    """

    def __init__(self, path: Path, manifest: Manifest, chunking: Chunking) -> None:
        self.path = path
        self.manifest = manifest
        self.chunking = chunking

    def read(self, slab: Slab) -> CountArray:
        """Read a block (s, n, t); raises `CorruptSlab` where a chunk is missing or can't be decoded."""
        counts = np.empty((slab.nsamples, slab.ncells, self.manifest.shape[2]), dtype=self.manifest.dtype)
        columns, pending = self.chunking.grid(self.manifest.shape)[2], deque[Future[None]]()
        with self.chunks() as fetch, ThreadPoolExecutor(_cpus()) as pool:
            for s in range(slab.s0, slab.s1):
                for i in range(slab.n0 // self.chunking.chunks[1], -(-slab.n1 // self.chunking.chunks[1])):
                    for j in range(0, columns, _AT_ONCE):
                        data = [self._read_chunk(fetch, s, i, k) for k in range(j, min(j + _AT_ONCE, columns))]
                        pending.append(pool.submit(self._decode, data, slab, counts, (s, i, j)))
                        if len(pending) > 2 * _cpus():
                            pending.popleft().result()
            for future in pending:
                future.result()
        return counts

    def _read_chunk(self, fetch: Fetch, s: int, i: int, j: int) -> bytes:
        """Read one encoded chunk."""
        try:
            return fetch(s, i, j)
        except ValueError as error:
            raise self._corrupt(s, i, j, error) from error

    def _decode(self, data: list[bytes], slab: Slab, counts: CountArray, place: tuple[int, int, int]) -> None:
        """Decode chunks of one row into a block: a thread's work."""
        (s, i, first), (_, ncells, nfeatures) = place, self.chunking.chunks
        codec = codec_of(self.chunking.codec, self.path)
        chunk = np.empty((ncells, nfeatures), dtype=counts.dtype)
        n0, n1 = max(slab.n0, i * ncells), min(slab.n1, (i + 1) * ncells)
        rows = counts[s - slab.s0, n0 - slab.n0 : n1 - slab.n0]  # (n, t)
        for j, encoded in enumerate(data, first):
            try:
                codec.decode(encoded, chunk)
            except ValueError as error:
                raise self._corrupt(s, i, j, error) from error
            part = rows[:, j * nfeatures : (j + 1) * nfeatures]
            part[...] = chunk[n0 - i * ncells : n1 - i * ncells, : part.shape[1]]

    def _corrupt(self, s: int, i: int, j: int, error: ValueError) -> CorruptSlab:
        """Name a chunk by the posterior's own indices, as elements are named."""
        (_, ncells, nfeatures), chosen = self.chunking.chunks, self.manifest.selection
        cells = index_words(chosen.cells[i * ncells : (i + 1) * ncells])
        features = index_words(chosen.features[j * nfeatures : (j + 1) * nfeatures])
        return CorruptSlab(
            f"{self.path}: the chunk of sample {chosen.samples[s]}, cells {cells}, features {features} can't be "
            f"decoded ({error}); write the file again"
        )

    @contextmanager
    @abstractmethod
    def chunks(self) -> Iterator[Fetch]:
        """Open what holds the chunks; what comes out raises `ValueError` where one is not there."""

    @abstractmethod
    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless all that is not counts is as it was written."""


def _cpus() -> int:
    """Processors of this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
