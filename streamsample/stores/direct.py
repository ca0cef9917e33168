"""Writing a large file without the page cache, where its file system takes that.

Whole blocks of 4 KiB go to the disk by direct I/O: from where they are, if they are aligned as they must be, which
slabs are (`Landing.phase`), else through a buffer. The odd bytes at both ends of a slab go through the page cache. So
nothing is carried from one slab to the next, slabs may come in any order, and after a sync all of them are there.

Measured on ext4, 1 GB in slabs of 32 MiB at odd offsets: 3.5 GB/s and 0.02 s of CPU time from where they are, 1.5 to
2.4 and 0.13 s through the buffer, 1.5 to 2.4 and 0.3 s through the page cache where `Writeback` pushes it along (with
32 MiB dirty), 0.4 to 1.8 with a sync at the end only. ``dd oflag=direct`` gets 2.7 there.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
from pathlib import Path

import numpy as np

from streamsample.memory_model import PIECE_NBYTES
from streamsample.stores.disk import Check, unchecked, write_all
from streamsample.stores.writeback import Writeback

logger = logging.getLogger(__name__)

BLOCK_NBYTES = 4096
"""Offset, length and memory of a direct write are multiples of this."""


class BlockWriter:
    """Writes runs of bytes at any offset of a file that exists."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._direct = _open_direct(path)
        self._buffer = mmap.mmap(-1, PIECE_NBYTES)  # begins with a page
        self._writeback = Writeback(self.descriptor)
        logger.debug("%s is written %s", path, "through the page cache" if self._direct is None else "by direct I/O")

    def write(self, data: memoryview, offset: int, check: Check = unchecked) -> None:
        """Write bytes, and ask before each piece; raises `OSError`, and what `check` does."""
        begin = -(-offset // BLOCK_NBYTES) * BLOCK_NBYTES
        end = (offset + len(data)) // BLOCK_NBYTES * BLOCK_NBYTES
        if self._direct is None or end <= begin:
            self._write_cached(data, offset, check)
            return
        write_all(self.descriptor, data[: begin - offset], offset)
        for at in range(begin, end, PIECE_NBYTES):
            check()
            self._write_blocks(data[at - offset : min(at + PIECE_NBYTES, end) - offset], at)
        write_all(self.descriptor, data[end - offset :], end)

    def sync(self) -> None:
        """Put everything on the disk, with what the file system must know to find it again."""
        self._writeback.flush()
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Let go of the file and the buffer."""
        for descriptor in (self.descriptor, self._direct):
            if descriptor is not None:
                os.close(descriptor)
        self._buffer.close()

    def _write_blocks(self, piece: memoryview, offset: int) -> None:
        """Write whole blocks, at most as many as the buffer holds."""
        if self._direct is not None:
            try:
                if _address(piece) % BLOCK_NBYTES == 0:
                    write_all(self._direct, piece, offset)
                else:
                    self._buffer[: len(piece)] = piece
                    with memoryview(self._buffer) as view, view[: len(piece)] as blocks:
                        write_all(self._direct, blocks, offset)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            # Some file systems open a file so, and refuse only then; or have written half a block.
            logger.debug("direct I/O is refused; writing through the page cache")
            os.close(self._direct)
            self._direct = None
        self._write_cached(piece, offset, unchecked)

    def _write_cached(self, data: memoryview, offset: int, check: Check) -> None:
        """Write through the page cache, and keep little of it dirty."""
        for at in range(0, len(data), PIECE_NBYTES):
            check()
            piece = data[at : at + PIECE_NBYTES]
            write_all(self.descriptor, piece, offset + at)
            self._writeback.wrote(offset + at, len(piece))


def _address(data: memoryview) -> int:
    """Where bytes lie in memory."""
    address: int = np.frombuffer(data, dtype=np.uint8).ctypes.data
    return address


def _open_direct(path: Path) -> int | None:
    """Open a file for direct writes; None where there is no such thing."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except (AttributeError, OSError):
        return None
