"""HDF5's index of chunks, written without HDF5.

A dataset of fixed size with filters has a Fixed Array (HDF5 File Format Specification 3.0, VII.C): an address, a length
and a mask of filters for each chunk, in C order of the grid, in pages that have checksums. HDF5 makes the array, empty,
when the first chunk is written; here its pages are filled in with where the chunks really are. So chunks are written
by plain writes wherever there is room, and no state of HDF5's is in flight meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import StoreError

_HEADER = Struct("<4sBBBBQQI")  # signature, version, client, size of an element, bits of a page, elements, block, check
_PREFIX = Struct("<4sBBQ")  # signature, version, client, address of the header
_SUPERBLOCK_NBYTES, _END_OF_FILE = 48, 28  # versions 2 and 3; where the end of the file is kept
_CHECK_NBYTES = 4
_PAGES_AT_ONCE = 64


@dataclass(frozen=True)
class FixedArray:
    """Where a file has its Fixed Array, and its sizes."""

    address: int
    """First byte of the data block."""
    header: int
    """First byte of the header."""
    nelements: int
    """Chunks."""
    element_nbytes: int
    """Size of an element."""
    page: int
    """Elements of a page."""

    @classmethod
    def find(cls, head: bytes) -> FixedArray:
        """Find the only Fixed Array in the beginning of a file; its header's checksum tells it from other bytes."""
        at = -1
        while (at := head.find(b"FAHD", at + 1)) >= 0:
            items = _HEADER.unpack_from(head.ljust(at + _HEADER.size, b"\0"), at)
            if items[-1] == lookup3(head[at : at + _HEADER.size - _CHECK_NBYTES]):
                _, _, _, element, bits, nelements, address, _ = items
                return cls(address, at, nelements, element, 1 << bits)
        raise StoreError("HDF5 has made no Fixed Array for the chunks; this version of it is not supported")

    @property
    def paged(self) -> bool:
        """Whether there is more than one page; else the elements follow the prefix, under its checksum."""
        return self.nelements > self.page

    @property
    def nbytes(self) -> int:
        """Size of the data block."""
        npages = -(-self.nelements // self.page) if self.paged else 0
        bits = -(-npages // 8)
        return _PREFIX.size + bits + self.nelements * self.element_nbytes + _CHECK_NBYTES * (npages + 1)

    def fill(self, chunks: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]]) -> Iterator[bytes]:
        """Return the data block piece by piece; `chunks` are offsets and lengths, in C order of the grid."""
        prefix = _PREFIX.pack(b"FADB", 0, 1, self.header)
        if not self.paged:
            block = prefix + b"".join(self._elements(*some).tobytes() for some in chunks)
            yield block + lookup3(block).to_bytes(_CHECK_NBYTES, "little")
            return
        npages = -(-self.nelements // self.page)
        block = prefix + np.packbits(np.ones(npages, np.uint8)).tobytes()
        yield block + lookup3(block).to_bytes(_CHECK_NBYTES, "little")
        rest = np.empty((0, self.element_nbytes), np.uint8)
        for some in chunks:
            rest = np.concatenate([rest, self._elements(*some)])
            whole = len(rest) // self.page * self.page
            yield from self._pages(rest[:whole].reshape(-1, self.page * self.element_nbytes))
            rest = rest[whole:]
        if len(rest):
            yield from self._pages(rest.reshape(1, -1))

    def _elements(self, offsets: NDArray[np.uint64], sizes: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Write elements (chunks, bytes): address, length in as many bytes as are left, mask of filters left out."""
        out = np.zeros((len(sizes), self.element_nbytes), np.uint8)
        length = min(self.element_nbytes - 12, 4)
        out[:, :8] = offsets.astype("<u8").view(np.uint8).reshape(-1, 8)
        out[:, 8 : 8 + length] = sizes.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :length]
        return out

    def _pages(self, pages: NDArray[np.uint8]) -> Iterator[bytes]:
        """Add its checksum to each page (pages, bytes)."""
        for i in range(0, len(pages), _PAGES_AT_ONCE):
            some = pages[i : i + _PAGES_AT_ONCE]
            checks = lookup3_rows(some).astype("<u4").view(np.uint8).reshape(-1, 4)
            yield np.concatenate([some, checks], axis=1).tobytes()


_Words = NDArray[np.uint32]


def with_end_of_file(head: bytes, end: int) -> bytes:
    """Return the beginning of a file with another end of file in its superblock."""
    fixed = head[:_END_OF_FILE] + end.to_bytes(8, "little") + head[_END_OF_FILE + 8 : _SUPERBLOCK_NBYTES - 4]
    return fixed + lookup3(fixed).to_bytes(_CHECK_NBYTES, "little") + head[_SUPERBLOCK_NBYTES:]


def lookup3(data: bytes) -> int:
    """Return Jenkins' lookup3 of bytes, HDF5's checksum of its metadata."""
    return int(lookup3_rows(np.frombuffer(data, np.uint8)[None])[0])


def lookup3_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return lookup3 (``hashlittle`` from 0) of each row (rows, bytes), all at once; rows are not empty."""
    nbytes = rows.shape[1]
    padded = np.pad(rows, ((0, 0), (0, -nbytes % 12)))
    words = np.ascontiguousarray(padded.view("<u4").astype(np.uint32).T)  # (words, rows)
    a = np.full(len(rows), (0xDEADBEEF + nbytes) & 0xFFFFFFFF, np.uint32)
    b, c = a.copy(), a.copy()
    for i in range(0, len(words), 3):
        a, b, c = a + words[i], b + words[i + 1], c + words[i + 2]
        if i + 3 < len(words):
            a, b, c = _mix(a, b, c)
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotated(b, bits)
        a, b, c = b, c, a
    return b  # the last one changed


def _mix(a: _Words, b: _Words, c: _Words) -> tuple[_Words, _Words, _Words]:
    """Stir three words; the names change places at each step, and are back after six."""
    for bits in (4, 6, 8, 16, 19, 4):
        a, c = (a - c) ^ _rotated(c, bits), c + b
        a, b, c = b, c, a
    return a, b, c


def _rotated(x: _Words, bits: int) -> _Words:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))
