"""What is known of the place where an output shall land."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass
from pathlib import Path

from streamsample.errors import DiskRefused, PlanError, StoreError
from streamsample.filesystems import Medium, medium_of
from streamsample.units import format_bytes

STORES = {
    ".npy": "streamsample.stores.npy:NpyStore",
    ".h5": "streamsample.stores.hdf5:Hdf5Store",
    ".zarr": "streamsample.stores.zarr:ZarrStore",
}
"""Each suffix that an output may have, and where its store is; named, so that h5py loads only where it is used."""
FOLDERS = (".zarr",)
"""Those of outputs that are folders."""


FEW_FILES = 32
"""Files beside those of counts: manifest, journal, lock, and the metadata and names of a Zarr group."""


@dataclass(frozen=True)
class TargetFacts:
    """Where an output goes, and the limits met there."""

    path: str
    """The final name."""
    suffix: str
    """Key of `STORES`."""
    filesystem: str = "unknown"
    """Type of the file system, such as ``ext4`` or ``nfs``."""
    free_nbytes: int | None = None
    """Bytes free to this user, or taken by an unfinished output of this name; None: not known."""
    free_files: int | None = None
    """Files (inodes) that may still be made; None: not known, or not limited."""
    file_limit_nbytes: int | None = None
    """Largest file allowed (``RLIMIT_FSIZE``); None: no limit."""

    @property
    def medium(self) -> Medium:
        """How it is written to, which decides what of it is memory of this job."""
        return medium_of(self.filesystem)

    @classmethod
    def gather(cls, path: str | os.PathLike[str]) -> TargetFacts:
        """Look at the folder of `path`.

        Raises
        ------
        PlanError
            If no store writes files of this suffix.
        StoreError
            If the folder is missing or read-only.
        """
        target = Path(path)
        suffix = known_suffix(target)
        folder = check_folder(target)
        space = os.statvfs(folder)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return cls(
            path=str(target),
            suffix=suffix,
            filesystem=_filesystem(folder),
            free_nbytes=space.f_bavail * space.f_frsize + taken_nbytes(partial_path(target)),
            free_files=space.f_favail if space.f_files else None,
            file_limit_nbytes=None if limit == resource.RLIM_INFINITY else limit,
        )

    def check_room(self, nbytes: int, nfiles: int = 1) -> None:
        """Refuse an output that does not fit.

        Parameters
        ----------
        nbytes
            Of all of it, in files that are alike.
        nfiles
            Files of counts; a few small ones come to them.

        Raises
        ------
        DiskRefused
            With the numbers, and as if the disk were full.
        StoreError
            With the numbers, where files are limited in size.
        """
        if self.free_nbytes is not None and nbytes > self.free_nbytes:
            raise _full(
                f"{self.path} needs {format_bytes(nbytes)} but {format_bytes(self.free_nbytes)} are free "
                f"on its disk ({self.filesystem}); select fewer samples, cells or features, or another disk",
            )
        if self.free_files is not None and nfiles + FEW_FILES > self.free_files:
            raise _full(
                f"{self.path} needs {nfiles + FEW_FILES:,} files but {self.free_files:,} can still be made on its disk "
                f"({self.filesystem}); choose .h5 or .npy, which are one file, or another disk",
            )
        file_nbytes = -(-nbytes // nfiles)
        if self.file_limit_nbytes is not None and file_nbytes > self.file_limit_nbytes:
            raise StoreError(
                f"{self.path} needs {format_bytes(file_nbytes)} but files are limited to "
                f"{format_bytes(self.file_limit_nbytes)} (RLIMIT_FSIZE); raise it with: ulimit -f unlimited",
            )


def _full(text: str) -> DiskRefused:
    """Return an error that is told as one of the disk: a run that has written something can be continued later."""
    refused = DiskRefused(text)
    refused.errno = errno.ENOSPC
    return refused


def check_folder(target: Path) -> Path:
    """Return the folder of `target`, or raise `StoreError` where it is missing or read-only."""
    folder = target.parent
    if not folder.is_dir():
        raise StoreError(f"{target} can't be written: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise StoreError(f"{target} can't be written: the folder {folder} is read-only; choose another")
    return folder


def partial_path(path: Path) -> Path:
    """Return the name that an output has until it is complete."""
    return path.with_name(path.name + ".partial")


def taken_nbytes(path: Path) -> int:
    """Return the bytes of disk that a file, or a folder with all that is in it, takes; 0 where there is none."""
    try:
        inside = [path, *path.rglob("*")] if path.is_dir() else [path]
        return sum(file.stat().st_blocks * 512 for file in inside)
    except FileNotFoundError:
        return 0


def known_suffix(path: Path) -> str:
    """Return the suffix of `path`, or raise `PlanError` where no store writes such files."""
    if path.suffix not in STORES:
        raise PlanError(f"{path.name} has the suffix {path.suffix!r}; counts are written to {' or '.join(STORES)}")
    return path.suffix


def _filesystem(folder: Path) -> str:
    """Type of the file system that holds a folder: its longest mount point's, from ``/proc``."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    best, found = -1, "unknown"
    real = folder.resolve()
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if real.is_relative_to(point) and len(point) >= best:
            best, found = len(point), after.split()[0]
    return found
