"""What a disk may hold after the power fails: every write, sync and rename of a run is recorded, and replayed in part.

A sync makes the content of a file last, or the list of names of a folder. Everything else may be lost, or not, in any
combination. Changes are found by looking at the folder after each call that can change it, so it does not matter how
they were made.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "pwrite", "write", "ftruncate", "fsync", "fdatasync", "replace", "rename", "unlink", "mkdir", "rmdir")
ROOT = 0  # the folder itself

Name = tuple[int, str]  # the folder it is in, and the name


@dataclass
class Change:
    """One step: bytes of a file, or names, that are new; or a sync that makes those before it last."""

    file: int | None = None
    """The file that was written or synced."""
    data: dict[int, bytes] = field(default_factory=dict)
    """Bytes by offset."""
    size: int | None = None
    """Its length afterwards."""
    names: dict[Name, int | None] = field(default_factory=dict)
    """Names that came, with what they name, or went."""
    synced: bool = False


@dataclass
class State:
    """Names and files."""

    names: dict[Name, int] = field(default_factory=dict)
    files: dict[int, bytes | None] = field(default_factory=dict)  # None: a folder

    def apply(self, change: Change) -> None:
        """Let a change happen."""
        if change.file is not None:
            content = bytearray(self.files.get(change.file) or b"")
            for offset, data in change.data.items():
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
            if change.size is not None:
                content = content[: change.size] + bytes(max(0, change.size - len(content)))
            self.files[change.file] = bytes(content)
        for name, what in change.names.items():
            if what is None:
                self.names.pop(name, None)
            else:
                self.names[name] = what

    def key(self) -> Hashable:
        """Alike for states that give the same folder."""
        return frozenset((name, what, self.files.get(what, b"")) for name, what in self.names.items())

    def put_into(self, folder: Path, inside: int = ROOT) -> None:
        """Make a real folder of it."""
        folder.mkdir(exist_ok=True)
        for (parent, name), what in self.names.items():
            if parent == inside:
                content = self.files.get(what, b"")
                if content is None:
                    self.put_into(folder / name, what)
                else:
                    (folder / name).write_bytes(content)


class Recorder:
    """Records what happens in a folder."""

    def __init__(self, folder: Path) -> None:
        self.log: list[Change] = []
        self.folders: set[int] = {ROOT}
        self._folder = folder
        self._now = State(files={ROOT: None})
        self._numbers: dict[int, int] = {folder.stat().st_ino: ROOT}  # what an inode is called here
        self._serial = itertools.count(1)
        self._lock = threading.RLock()

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record while in this context."""
        with monkeypatch.context() as patch:
            for call in CALLS:
                patch.setattr(os, call, self._watched(call, getattr(os, call)))
            yield

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                inode = os.fstat(args[0]).st_ino if name in ("fsync", "fdatasync") else None
                result = function(*args, **options)
                self._look()
                if inode in self._numbers:
                    self.log.append(Change(self._numbers[inode], synced=True))
                return result

        return call

    def _look(self) -> None:
        """Find out what has changed."""
        seen = State(files={ROOT: None})
        self._scan(self._folder, ROOT, seen)
        names = {name: what for name, what in seen.names.items() if self._now.names.get(name) != what}
        gone = dict.fromkeys(self._now.names.keys() - seen.names.keys())
        if names or gone:
            self.log.append(Change(names={**gone, **names}))
        for file, content in seen.files.items():
            before = self._now.files.get(file, b"")
            if content is None or before is None or content == before:
                continue
            self.log.append(Change(file, _differences(before, content), len(content)))
        self._now = seen
        self._numbers = {inode: number for inode, number in self._numbers.items() if number in seen.files}

    def _scan(self, folder: Path, number: int, seen: State) -> None:
        for path in sorted(folder.iterdir()):
            inode = path.stat().st_ino
            if inode not in self._numbers:
                self._numbers[inode] = next(self._serial)
            mine = self._numbers[inode]
            seen.names[number, path.name] = mine
            if path.is_dir():
                self.folders.add(mine)
                seen.files[mine] = None
                self._scan(path, mine, seen)
            else:
                seen.files[mine] = path.read_bytes()


def _differences(before: bytes, after: bytes) -> dict[int, bytes]:
    """Runs of bytes that differ."""
    padded = before.ljust(len(after), b"\0")
    runs, offset = {}, 0
    for same, group in itertools.groupby(zip(padded, after, strict=False), key=lambda pair: pair[0] == pair[1]):
        values = bytes(pair[1] for pair in group)
        if not same:
            runs[offset] = values
        offset += len(values)
    return runs


def crash(recorder: Recorder, length: int, survives: Callable[[], bool]) -> State:
    """Return what is on the disk if the power fails after `length` steps; what was not synced survives by chance."""
    state = State(files=dict.fromkeys(recorder.folders))
    waiting: list[Change] = []
    for change in recorder.log[:length]:
        if not change.synced:
            waiting.append(change)
            continue
        kept = []
        for earlier in waiting:
            if earlier.file == change.file:
                state.apply(earlier)
            elif any(parent == change.file for parent, _ in earlier.names):
                _apply_names(state, earlier, kept, change.file)
            else:
                kept.append(earlier)
        waiting = kept
    for change in waiting:
        if survives():
            state.apply(change)
    return state


def _apply_names(state: State, change: Change, kept: list[Change], folder: int | None) -> None:
    """Let the names of one folder last, and leave those of others to chance."""
    state.apply(Change(names={name: what for name, what in change.names.items() if name[0] == folder}))
    others = {name: what for name, what in change.names.items() if name[0] != folder}
    if others:
        kept.append(Change(names=others))
