"""Slabs become encoded chunks, on several threads, in the order of the chunks and with few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from streamsample.chunking import Chunking
from streamsample.errors import StoreError
from streamsample.geometry import Slab
from streamsample.memory_model import CHUNKS_A_PIECE, PIECES_A_THREAD
from streamsample.stores.base import CountArray
from streamsample.stores.codecs import Codec


class Piece(NamedTuple):
    """Chunks that a thread encodes at once: some of those that hold the same cells of one sample."""

    s: int
    """Sample, a position in the selection."""
    n0: int
    """First cell."""
    t0: int
    """First feature."""
    t1: int
    """One past the last feature."""


class Encoded(NamedTuple):
    """The chunks of a piece."""

    piece: Piece
    data: list[bytes]


class Encoder:
    """Encodes slabs; a context manager that keeps its threads.

    Parameters
    ----------
    chunking
        Shape of chunks.
    codec
        What encodes them.
    threads
        How many encode at a time.
    """

    def __init__(self, chunking: Chunking, codec: Codec, threads: int) -> None:
        self._chunks = chunking.chunks
        self._codec = codec
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="streamsample-encoder")

    def encode(self, slab: Slab, counts: CountArray) -> Iterator[Encoded]:
        """Encode the chunks of a slab (s, n, t), which must hold whole ones, in C order of their grid."""
        todo = pieces(slab, counts.shape[2], self._chunks)
        pending: deque[Future[Encoded]] = deque()
        try:
            for piece in islice(todo, PIECES_A_THREAD * self._threads):
                pending.append(self._pool.submit(self._encode, piece, slab, counts))
            while pending:
                done = pending.popleft().result()
                for piece in islice(todo, 1):
                    pending.append(self._pool.submit(self._encode, piece, slab, counts))
                yield done
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(cancel_futures=True)

    def _encode(self, piece: Piece, slab: Slab, counts: CountArray) -> Encoded:
        """Encode one piece: a thread's work."""
        _, ncells, nfeatures = self._chunks
        rows = counts[piece.s - slab.s0, piece.n0 - slab.n0 : piece.n0 - slab.n0 + ncells]  # (n, t)
        chunk = np.zeros((ncells, nfeatures), dtype=counts.dtype)
        data = []
        for t0 in range(piece.t0, piece.t1, nfeatures):
            part = rows[:, t0 : t0 + nfeatures]
            if part.shape != chunk.shape:
                chunk[...] = 0  # what is outside of the axes
            chunk[: part.shape[0], : part.shape[1]] = part
            data.append(self._codec.encode(chunk))
        return Encoded(piece, data)


def pieces(slab: Slab, nfeatures: int, chunks: tuple[int, int, int]) -> Iterator[Piece]:
    """Cut a slab into pieces, in C order of the grid of chunks."""
    step = CHUNKS_A_PIECE * chunks[2]
    for s in range(slab.s0, slab.s1):
        for n0 in range(slab.n0, slab.n1, chunks[1]):
            for t0 in range(0, nfeatures, step):
                yield Piece(s, n0, t0, min(t0 + step, nfeatures))


def check_slab(slab: Slab, ncells: int, chunking: Chunking) -> None:
    """Raise `StoreError` unless a slab holds whole chunks; `ncells` is N."""
    unit = chunking.chunks[1]
    if slab.n0 % unit or (slab.n1 % unit and slab.n1 != ncells):
        raise StoreError(f"cells {slab.n0}:{slab.n1} of a slab are not whole chunks of {unit} cells")
