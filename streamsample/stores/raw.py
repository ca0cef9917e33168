"""Counts as one run of bytes in a file: what ``.npy`` and contiguous ``.h5`` have in common."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamsample.errors import StoreError
from streamsample.geometry import Slab
from streamsample.memory_model import PIECE_NBYTES
from streamsample.stores.base import CountArray
from streamsample.stores.manifest import Manifest
from streamsample.stores.output import disk_reason
from streamsample.stores.writeback import Writeback
from streamsample.units import format_bytes

ALIGNMENT = 4096
"""Counts start at a multiple of this in every format, as direct I/O needs it."""


@dataclass(frozen=True)
class Extent:
    """Where the counts lie in a file."""

    offset: int
    """First byte."""
    manifest: Manifest
    """Their shape and type."""

    @property
    def nbytes(self) -> int:
        """Bytes of all counts."""
        nsamples, ncells, nfeatures = self.manifest.shape
        return nsamples * ncells * nfeatures * np.dtype(self.manifest.dtype).itemsize

    def address(self, slab: Slab) -> int:
        """First byte of a slab, which is one run of bytes (see `geometry.slabs`)."""
        _, ncells, nfeatures = self.manifest.shape
        return self.offset + (slab.s0 * ncells + slab.n0) * nfeatures * np.dtype(self.manifest.dtype).itemsize


class RawLanding:
    """Writes slabs at their offsets, with few dirty pages behind it."""

    def __init__(self, path: Path, extent: Extent) -> None:
        self._path = path
        self._extent = extent
        self._descriptor = os.open(path, os.O_WRONLY)
        self._writeback = Writeback(self._descriptor)
        try:
            _reserve(self._descriptor, extent)
        except OSError as error:
            os.close(self._descriptor)
            raise self._refusal(error, 0) from error

    def write(self, slab: Slab, counts: CountArray) -> None:
        """Write one slab; raises `StoreError` where the disk does not take it."""
        data = counts.data.cast("B")
        address = self._extent.address(slab)
        for begin in range(0, len(data), PIECE_NBYTES):
            piece = data[begin : begin + PIECE_NBYTES]
            try:
                _write_all(self._descriptor, piece, address + begin)
                self._writeback.wrote(address + begin, len(piece))
            except OSError as error:
                raise self._refusal(error, address + begin - self._extent.offset) from error

    def close(self) -> None:
        """Sync to the disk and close."""
        try:
            self._writeback.flush()
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refusal(error, self._extent.nbytes) from error
        finally:
            os.close(self._descriptor)

    def _refusal(self, error: OSError, done: int) -> StoreError:
        """One line for an error of the disk."""
        progress = f"after {format_bytes(done)} of {format_bytes(self._extent.nbytes)}"
        return StoreError(f"{self._path} can't be written {progress}: {disk_reason(error)}")


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
        """Read one slab (s, n, t); raises `StoreError` where the file ends too early."""
        nfeatures = self.manifest.shape[2]
        counts = np.empty((slab.nsamples, slab.ncells, nfeatures), dtype=self.manifest.dtype)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.extent.address(slab))
            view = counts.data.cast("B")
            done = 0
            while done < len(view):
                got = file.readinto(view[done:])
                if not got:
                    raise StoreError(f"{self.path} ends {format_bytes(len(view) - done)} before the end of {slab}")
                done += got
        return counts


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write to the end: one call writes at most 2 GiB, and less where a signal comes or a disk fills up."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


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
