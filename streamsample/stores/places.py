"""Every name that an output has on the disk, and how it gets from one to the other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from streamsample.errors import OutputExists, StoreError
from streamsample.stores.base import Store
from streamsample.stores.disk import sync_folder
from streamsample.target import partial_path


class Places:
    """Names of one output.

    Parameters
    ----------
    store
        Its format.
    path
        The final name.
    """

    def __init__(self, store: Store, path: Path) -> None:
        base = partial_path(path)
        self.final = store.files(path)
        """Names of the finished output."""
        self.partial = store.files(base)
        """Where it is until then."""
        self.journal = base.with_name(base.name + ".journal")
        """What of it is safely written."""
        self.lock = base.with_name(base.name + ".lock")
        """Who writes it."""
        self.folder = path.parent
        """The folder of all these."""
        self._is_folder = store.is_folder

    def refuse_folder(self) -> None:
        """Raise `StoreError` where a folder has the name of a file."""
        for path in self.final:
            if path.is_dir() and not self._is_folder:
                raise StoreError(f"{path} is a folder; choose another name")

    def refuse_existing(self) -> None:
        """Raise `OutputExists` where something has a final name."""
        for path in self.final:
            if path.exists():
                raise OutputExists(f"{path} exists; give overwrite=True (--overwrite) to replace it")

    def gone(self) -> list[Path]:
        """Final names of what is there under neither name."""
        pairs = zip(self.partial, self.final, strict=True)
        return [final for partial, final in pairs if not (partial.exists() or final.exists())]

    def discard(self) -> None:
        """Remove an unfinished output. The journal goes first: it must never speak of other counts."""
        if self.journal.exists():
            self.journal.unlink()
            sync_folder(self.folder)
        for path in self.partial:
            remove(path)

    def rename(self) -> None:
        """Give the files their final names; to be done again, from whatever state, if it was cut off.

        The counts come first. A manifest beside them is removed before and renamed after them, so one that is there
        always belongs to the counts beside it. Each step lasts before the next one.
        """
        moves = [(partial, final) for partial, final in zip(self.partial, self.final, strict=True) if partial.exists()]
        if moves and moves[0][0] == self.partial[0]:
            for final in self.final[1:]:
                remove(final)
            sync_folder(self.folder)
        for partial, final in moves:
            aside = final.with_name(final.name + ".replaced")
            if final.is_dir():  # which no rename replaces
                remove(aside)
                os.rename(final, aside)
            os.replace(partial, final)
            sync_folder(self.folder)
            remove(aside)
        self.journal.unlink(missing_ok=True)
        sync_folder(self.folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def length_of(path: Path) -> int:
    """Return the length of a file in bytes, or of all files in a folder together."""
    inside = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in inside if file.is_file())
