"""An output is complete or absent: everything happens under a partial name until it is renamed."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType

from streamsample.errors import OutputExists, StoreError, StreamsampleError
from streamsample.stores.base import Store

logger = logging.getLogger(__name__)


class Output:
    """The files of one output between start and rename; a context manager.

    Leaving the context without `commit` removes everything that was written; what had the final name before stays.

    Parameters
    ----------
    store
        Its format.
    path
        The final name.
    overwrite
        Whether a finished output of that name may be replaced.
    """

    def __init__(self, store: Store, path: Path, *, overwrite: bool = False) -> None:
        self._final = store.files(path)
        self._partial = store.files(path.with_name(path.name + ".partial"))
        self._overwrite = overwrite
        self._lock = -1
        self._committed = False

    @property
    def partial(self) -> Path:
        """Where the counts are written until they are complete."""
        return self._partial[0]

    def __enter__(self) -> Output:
        """Refuse what exists, and make sure that nobody else writes the same output."""
        self._refuse_existing()
        self._lock = _lock(self.partial)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what was not committed, and say in one line what the disk has refused."""
        if not self._committed:
            for path in self._partial:
                path.unlink(missing_ok=True)
        os.close(self._lock)
        if isinstance(error, OSError) and not isinstance(error, StreamsampleError):
            raise StoreError(f"{self._final[0]} can't be written: {disk_reason(error)}") from error

    def commit(self) -> None:
        """Sync, and give the files their final names.

        The counts come first. A manifest beside them is removed before and renamed after them, so one that is
        there always belongs to the counts beside it.
        """
        self._refuse_existing()
        try:
            for path in self._partial:
                _sync(path)
            for path in self._final[1:]:
                path.unlink(missing_ok=True)
            for partial, final in zip(self._partial, self._final, strict=True):
                os.replace(partial, final)
            self._committed = True
            _sync(self._final[0].parent)
        except OSError as error:
            raise StoreError(f"{self._final[0]} can't be finished: {disk_reason(error)}") from error

    def _refuse_existing(self) -> None:
        for path in self._final:
            if path.is_dir():
                raise StoreError(f"{path} is a folder; choose another name")
            if path.exists() and not self._overwrite:
                raise OutputExists(f"{path} exists; give overwrite=True (--overwrite) to replace it")


def disk_reason(error: OSError) -> str:
    """Say why the disk has refused, and the way out where there is one."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = os.strerror(error.errno) if error.errno else str(error)  # HDF5's own text is a page long
    return f"{reason}{'; free some space there, or select less' if full else ''}"


def _lock(path: Path) -> int:
    """Make, or take over, the partial file, and lock it against other processes.

    A partial file without a lock was left by a process that was killed, and is started again from nothing.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(f"{path} can't be made: {disk_reason(error)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(
                f"{path} is being written by another process; wait for it, or choose another name"
            ) from None
        except OSError:  # a file system without locks: nothing to hold on to
            logger.debug("no lock on %s", path)
        # Whoever held the lock before may have renamed or removed the file while this process waited to open it.
        if _is(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Sync a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
