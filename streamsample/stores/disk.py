"""The few things that are done to a disk, each with the sync that makes it last."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from streamsample.errors import DiskRefused

FULL = (errno.ENOSPC, errno.EDQUOT)
_NAMES = "EIO ETIMEDOUT ESTALE ENOMEM EAGAIN EROFS ENOTCONN ESHUTDOWN EREMOTEIO"  # the last ones of file servers
PASSING = (*FULL, *(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name)))
"""What a disk may refuse now and take later: it is read-only after an error until it is mounted again."""

Check = Callable[[], None]
"""Asked before each piece of a long write; raises an error where the write is not to go on."""


def unchecked() -> None:
    """Let a write go on."""


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write to the end: one call writes at most 2 GiB, and less where a signal comes or a disk fills up."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def create_file(path: Path, data: bytes) -> None:
    """Make or empty a file, and put its new content on the disk; its name lasts after `sync_folder`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, memoryview(data), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_reason(error: OSError) -> str:
    """Say why the disk has refused, and the way out where there is one."""
    full = error.errno in FULL
    reason = os.strerror(error.errno) if error.errno else str(error)  # HDF5's own text is a page long
    return f"{reason}{'; free some space there, or select less' if full else ''}"


def refusal(path: Path, error: OSError, doing: str = "written") -> DiskRefused:
    """Return one line for what a disk has refused, with the number of the error."""
    refused = DiskRefused(f"{path} can't be {doing}: {disk_reason(error)}")
    refused.errno = error.errno
    return refused
