"""How a chunk becomes bytes, in the forms that HDF5's filters and Zarr's codecs read.

Counts of one feature are alike, so what is encoded goes through the cells of a feature first. No transposed copy is
made for that: to Blosc, a cell's whole row in the chunk is one element, whose bits it shuffles. Each feature's bits
come out as planes that run along the cells. That is as small as transposing and shuffling (0.175 and 0.177 bytes a
count), needs no codec beside Blosc, and the stride is in each chunk's own header, so every reader of Blosc has it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import Struct
from typing import Any, Protocol

import numcodecs
import numpy as np
from numpy.typing import NDArray

from streamsample.chunking import CHUNK_NBYTES, STRIDE_NBYTES
from streamsample.errors import CorruptSlab

Array = NDArray[Any]

_HDF5_SHUFFLE, _HDF5_DEFLATE, _HDF5_BLOSC = 2, 1, 32001
_BLOSC_HEADER = Struct("<4BIII")  # two versions, flags, stride; then bytes decoded, of a block, encoded
_OPTIONAL = 1  # H5Z_FLAG_OPTIONAL: a dataset may be made without the filter's library


class Codec(Protocol):
    """Encodes chunks (cells, features) of unsigned integers; several threads at a time, without Python's lock."""

    def encode(self, chunk: Array) -> bytes:
        """Encode a chunk in C order."""

    def decode(self, data: bytes, out: Array) -> None:
        """Decode into a chunk in C order; raises `ValueError` where that is not possible."""

    def hdf5_filters(self, shape: tuple[int, int], itemsize: int) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return HDF5's number, flags and parameters of each filter, first the one that encodes first."""

    def zarr_codec(self, shape: tuple[int, int], itemsize: int) -> dict[str, Any] | None:
        """Return the codec as Zarr's metadata names it; None where Zarr has none."""


@dataclass(frozen=True)
class Blosc:
    """Blosc with bits shuffled, a chunk as one block."""

    name: str
    """Of the compressor: ``zstd`` or ``lz4``."""
    level: int
    """Its effort; zstd at level 3 takes twice as long, for a file that is no smaller."""

    def encode(self, chunk: Array) -> bytes:
        """Encode a chunk in C order."""
        stride = _stride(chunk.shape[1], chunk.itemsize)
        elements = chunk.reshape(-1).view(np.uint8).view(f"V{stride}")
        encoded: bytes = self._codec().encode(elements)
        return encoded

    def decode(self, data: bytes, out: Array) -> None:
        """Decode into a chunk in C order."""
        # Blosc believes its header, and is not told how long the data are.
        sizes = _BLOSC_HEADER.unpack_from(data)[-3:] if len(data) >= _BLOSC_HEADER.size else (0, 0, 0)
        if (sizes[0], sizes[2]) != (out.nbytes, len(data)):
            raise ValueError(f"its header is that of {sizes[2]:,} bytes that hold {sizes[0]:,}, not of {len(data):,}")
        try:
            self._codec().decode(data, out)
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    def hdf5_filters(self, shape: tuple[int, int], itemsize: int) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return Blosc's registered filter: version 2 of filter and format, stride, size, level, bits, compressor."""
        nbytes, code = shape[0] * shape[1] * itemsize, {"lz4": 1, "zstd": 5}[self.name]
        return [(_HDF5_BLOSC, _OPTIONAL, (2, 2, _stride(shape[1], itemsize), nbytes, self.level, 2, code))]

    def zarr_codec(self, shape: tuple[int, int], itemsize: int) -> dict[str, Any]:
        """Return Zarr's own codec of the name."""
        configuration = {
            "typesize": _stride(shape[1], itemsize), "cname": self.name, "clevel": self.level,
            "shuffle": "bitshuffle", "blocksize": CHUNK_NBYTES,
        }  # fmt: skip
        return {"name": "blosc", "configuration": configuration}

    def _codec(self) -> Any:
        return numcodecs.Blosc(self.name, self.level, numcodecs.Blosc.BITSHUFFLE, CHUNK_NBYTES)


@dataclass(frozen=True)
class Deflate:
    """HDF5's own filters, which every reader has: bytes shuffled, then deflated.

    Runs of a byte are all that is looked for (Z_RLE), and Huffman codes are made anew every 4,096 symbols: better than
    the usual search (0.23 bytes a count and not 0.31), and faster. The shuffle stays that of HDF5, a count at a time:
    one along cells would be a sixth smaller, but readers that take the stride from the dtype would read other counts.
    """

    level: int = 1
    memory: int = 6
    """zlib's ``memLevel``, which decides how many symbols share a code."""

    def encode(self, chunk: Array) -> bytes:
        """Encode a chunk in C order."""
        planes = np.ascontiguousarray(chunk.reshape(-1).view(np.uint8).reshape(-1, chunk.itemsize).T)
        packer = zlib.compressobj(self.level, zlib.DEFLATED, zlib.MAX_WBITS, self.memory, zlib.Z_RLE)
        return packer.compress(planes.data) + packer.flush()

    def decode(self, data: bytes, out: Array) -> None:
        """Decode into a chunk in C order."""
        try:
            planes = np.frombuffer(zlib.decompress(data, bufsize=out.nbytes), np.uint8)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if planes.size != out.nbytes:
            raise ValueError(f"{planes.size:,} bytes are encoded, not {out.nbytes:,}")
        out.reshape(-1).view(np.uint8).reshape(-1, out.itemsize)[...] = planes.reshape(out.itemsize, -1).T

    def hdf5_filters(self, shape: tuple[int, int], itemsize: int) -> list[tuple[int, int, tuple[int, ...]]]:  # noqa: ARG002
        """Return shuffle and deflate."""
        return [(_HDF5_SHUFFLE, _OPTIONAL, (itemsize,)), (_HDF5_DEFLATE, _OPTIONAL, (self.level,))]

    def zarr_codec(self, shape: tuple[int, int], itemsize: int) -> None:
        """Zarr's specification has no byte shuffle to go before its gzip."""


CODECS: dict[str, Codec] = {"gzip": Deflate(), "zstd": Blosc("zstd", 1), "lz4": Blosc("lz4", 5)}
"""By the name that the manifest has."""


def codec_of(name: str, source: object) -> Codec:
    """Return a codec by the name in a manifest, or raise `CorruptSlab`."""
    if name not in CODECS:
        raise CorruptSlab(f"{source} is encoded by {name!r}, which this version does not know; it may be damaged")
    return CODECS[name]


def _stride(features: int, itemsize: int) -> int:
    """Bytes that are one element to Blosc: a cell's row in the chunk, or one count where that is too long."""
    row = features * itemsize
    return row if row <= STRIDE_NBYTES else itemsize
