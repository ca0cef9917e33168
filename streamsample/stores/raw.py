"""Counts as one run of bytes in a file: what ``.npy`` and contiguous ``.h5`` have in common."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamsample.errors import CorruptSlab, StoreError
from streamsample.geometry import Slab
from streamsample.stores.base import CountArray
from streamsample.stores.direct import BLOCK_NBYTES as ALIGNMENT
from streamsample.stores.direct import BlockWriter
from streamsample.stores.disk import Check, disk_reason, refusal, sync_folder, unchecked, write_all
from streamsample.stores.journal import Run
from streamsample.stores.manifest import Manifest
from streamsample.units import format_bytes

__all__ = ["ALIGNMENT", "Extent", "Frame", "RawLanding", "RawStored", "around_counts", "put_frame"]

Frame = Iterable[tuple[int, bytes]]
"""Everything in a file but the counts: offsets and bytes."""


@dataclass(frozen=True)
class Extent:
    """Where the counts lie in a file."""

    offset: int
    """First byte."""
    manifest: Manifest
    """Their shape and type."""

    @property
    def row_nbytes(self) -> int:
        """Bytes of one cell's counts."""
        return self.manifest.shape[2] * np.dtype(self.manifest.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all counts."""
        return self.manifest.shape[0] * self.manifest.shape[1] * self.row_nbytes

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.offset + self.nbytes

    def address(self, s: int, n: int) -> int:
        """First byte of a cell's counts."""
        return self.offset + (s * self.manifest.shape[1] + n) * self.row_nbytes

    def runs(self, slab: Slab) -> list[tuple[int, int, int]]:
        """Samples of a slab that are one run of bytes, ``(first, end, address)``: all of them if it spans all cells."""
        if slab.ncells == self.manifest.shape[1]:
            return [(0, slab.nsamples, self.address(slab.s0, 0))]
        return [(s, s + 1, self.address(slab.s0 + s, slab.n0)) for s in range(slab.nsamples)]


def put_frame(path: Path, frame: Frame, size: int, *, fresh: bool) -> None:
    """Write everything around the counts and set the file's size; it lasts when this returns.

    Parameters
    ----------
    path
        The file.
    frame
        What to write.
    size
        Bytes of the whole file.
    fresh
        Whether to begin with an empty file; else the counts in it stay.

    Raises
    ------
    DiskRefused
        If the disk does not take it.
    StoreError
        If counts should be there, but are not.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if fresh else 0), 0o666)
        try:
            if not fresh and os.fstat(descriptor).st_size != size:
                raise StoreError(
                    f"{path} has {os.fstat(descriptor).st_size:,} bytes where its journal promises {size:,}, so it "
                    "can't be continued; give overwrite=True (--overwrite) to start again"
                )
            for offset, data in frame:
                write_all(descriptor, memoryview(data), offset)
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except StoreError:
        raise
    except OSError as error:
        raise refusal(path, error) from error


class RawLanding:
    """Writes slabs at their offsets."""

    def __init__(self, path: Path, extent: Extent) -> None:
        self._path = path
        self._extent = extent
        self._written = 0
        try:
            self._file = BlockWriter(path)
        except OSError as error:
            raise refusal(path, error) from error
        try:
            _reserve(self._file.descriptor, extent)
        except OSError as error:
            self._file.close()
            raise refusal(path, error) from error

    def write(self, slab: Slab, counts: CountArray, check: Check = unchecked) -> tuple[Run, ...]:
        """Write one slab; raises `DiskRefused` where the disk does not take it."""
        try:
            for first, end, address in self._extent.runs(slab):
                self._file.write(counts[first:end].data.cast("B"), address, check)
        except StoreError:  # of the check
            raise
        except OSError as error:
            raise self._refusal(error) from error
        self._written += counts.nbytes
        return ()

    def phase(self, slab: Slab) -> int:
        """Say where in a block the slab begins in the file: there, direct I/O wants it in memory, too."""
        return self._extent.address(slab.s0, slab.n0) % ALIGNMENT

    def sync(self) -> None:
        """Put everything on the disk."""
        try:
            self._file.sync()
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _refusal(self, error: OSError) -> StoreError:
        """One line for an error of the disk."""
        progress = f"written after {format_bytes(self._written)} of {format_bytes(self._extent.nbytes)}"
        return refusal(self._path, error, progress)


@dataclass(frozen=True)
class RawStored:
    """Reads slabs from their offsets."""

    path: Path
    extent: Extent

    @property
    def manifest(self) -> Manifest:
        """The identity of the run."""
        return self.extent.manifest

    def read(self, slab: Slab) -> CountArray:
        """Read a block (s, n, t); raises `StoreError` where the file ends too early."""
        counts = np.empty((slab.nsamples, slab.ncells, self.manifest.shape[2]), dtype=self.manifest.dtype)
        with self.path.open("rb", buffering=0) as file:
            for first, end, address in self.extent.runs(slab):
                file.seek(address)
                view = counts[first:end].data.cast("B")
                done = 0
                while done < len(view):
                    try:
                        got = file.readinto(view[done:])
                    except OSError as error:
                        raise StoreError(
                            f"{self.path} can't be read at byte {address}: {disk_reason(error)}"
                        ) from error
                    if not got:
                        raise StoreError(f"{self.path} ends {format_bytes(len(view) - done)} before the end of {slab}")
                    done += got
        return counts


def around_counts(path: Path, extent: Extent) -> bytes:
    """Read everything in a file that is not counts, in order; raises `CorruptSlab` where counts are missing."""
    with path.open("rb") as file:
        before = file.read(extent.offset)
        if file.seek(0, os.SEEK_END) < extent.end:
            raise CorruptSlab(f"{path} is cut short: it ends before its counts do; write it again")
        file.seek(extent.end)
        return before + file.read()


def _reserve(descriptor: int, extent: Extent) -> None:
    """Ask the file system for all the space now, so that nobody else takes it during the run.

    ``fallocate(2)`` only: ``posix_fallocate`` writes a byte into each block where it is not supported.
    """
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(descriptor, 0, extent.offset, extent.nbytes) != 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(number, os.strerror(number))
