"""A file in memory that takes as much as was written to it, however long it is: HDF5's part of a terabyte."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator

PAGE_NBYTES = 4096


class SparseImage(io.RawIOBase):
    """What h5py writes when the counts stay away: pages here and there, zeros between them."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0
        self._position = 0
        self._pages: dict[int, bytearray] = defaultdict(lambda: bytearray(PAGE_NBYTES))

    def outside(self, begin: int, end: int) -> tuple[bytes, bytes]:
        """Return what is before `begin`, and what is from `end` on."""
        return self._read(0, begin), self._read(end, max(end, self.nbytes))

    def readable(self) -> bool:
        """Can be read."""
        return True

    def writable(self) -> bool:
        """Can be written."""
        return True

    def seekable(self) -> bool:
        """Has a position."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset from the beginning, from here, or from the end."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.nbytes}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the length; h5py never cuts off what it has written."""
        self.nbytes = self._position if size is None else size
        return self.nbytes

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Write at the position."""
        view = memoryview(data).cast("B")
        for done, page, at, length in _spans(self._position, len(view)):
            self._pages[page][at : at + length] = view[done : done + length]
        self._position += len(view)
        self.nbytes = max(self.nbytes, self._position)
        return len(view)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read at the position; what was never written is zero."""
        view = memoryview(buffer).cast("B")
        data = self._read(self._position, min(self._position + len(view), self.nbytes))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, begin: int, end: int) -> bytes:
        """Return the bytes ``begin:end``."""
        data = bytearray(max(0, end - begin))
        for done, page, at, length in _spans(begin, len(data)):
            if page in self._pages:
                data[done : done + length] = self._pages[page][at : at + length]
        return bytes(data)


def _spans(offset: int, nbytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut a run of bytes at page ends: bytes before, page, offset within it, length."""
    done = 0
    while done < nbytes:
        page, at = divmod(offset + done, PAGE_NBYTES)
        length = min(PAGE_NBYTES - at, nbytes - done)
        yield done, page, at, length
        done += length
