"""Encoding on threads: in order, a few pieces at a time, and errors come out."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from streamsample.chunking import Chunking
from streamsample.geometry import Slab
from streamsample.memory_model import CHUNKS_A_PIECE, PIECES_A_THREAD
from streamsample.stores.encoder import Encoder, pieces


class Slow:
    """A codec that keeps count, and takes longer for what comes first."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.encoded = 0
        self.fails_at = fails_at
        self._lock = threading.Lock()

    def encode(self, chunk: Any) -> bytes:
        with self._lock:
            self.encoded += 1
        if chunk[0, 0] == self.fails_at:
            raise MemoryError("no room")
        time.sleep(0.002 if chunk[0, 0] % 2 else 0)
        return bytes(chunk)


SLAB = Slab(2, 4, 8, 19)
CHUNKING = Chunking((1, 4, 2), "slow")
COUNTS = np.arange(2 * 11 * 101, dtype=np.uint16).reshape(2, 11, 101)


def test_chunks_come_in_the_order_of_their_grid_and_padded_with_zeros() -> None:
    encoder = Encoder(CHUNKING, Slow(), 3)  # type: ignore[arg-type]  # encodes only
    chunks = [
        np.frombuffer(data, np.uint16).reshape(4, 2) for some in encoder.encode(SLAB, COUNTS) for data in some.data
    ]
    encoder.close()
    padded = np.zeros((2, 12, 102), np.uint16)
    padded[:, :11, :101] = COUNTS
    expected = padded.reshape(2, 3, 4, 51, 2).swapaxes(2, 3).reshape(-1, 4, 2)
    np.testing.assert_array_equal(chunks, expected)


def test_few_pieces_are_on_their_way_while_nobody_takes_them() -> None:
    codec, threads = Slow(), 2
    encoder = Encoder(CHUNKING, codec, threads)  # type: ignore[arg-type]
    taken = encoder.encode(SLAB, COUNTS)
    next(taken)
    time.sleep(0.3)
    assert codec.encoded <= (PIECES_A_THREAD * threads + 1) * CHUNKS_A_PIECE
    assert len([*pieces(SLAB, 101, CHUNKING.chunks)]) > PIECES_A_THREAD * threads + 1
    assert len([*taken]) == len([*pieces(SLAB, 101, CHUNKING.chunks)]) - 1
    encoder.close()


def test_an_error_of_a_thread_comes_out_and_the_rest_is_not_encoded() -> None:
    codec = Slow(fails_at=int(COUNTS[0, 0, 2]))
    encoder = Encoder(CHUNKING, codec, 1)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="no room"):
        list(encoder.encode(SLAB, COUNTS))
    encoder.close()
    assert codec.encoded < len([*pieces(SLAB, 101, CHUNKING.chunks)]) * CHUNKS_A_PIECE / 2
