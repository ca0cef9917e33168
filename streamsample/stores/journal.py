"""The journal: an append-only record of what is safely written, beside the unfinished output.

A slab is safe when its bytes are on the disk and, after that, its line is. Nothing else is trusted: what has no line is
computed again, which gives the same bytes. A line is an extent in samples and cells, not a number of a slab, so slabs,
threads and memory may be others when a run is resumed.

Each line is a JSON object, a space, and the CRC32C of the object's text in 8 hexadecimal digits. The first one holds
the manifest's identity; then come slabs; `finished` is the last, written before the files get their final names. A line
that does not have its checksum (torn when the machine stopped, or damaged later) counts as not written.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streamsample.errors import StoreError
from streamsample.geometry import Slab
from streamsample.stores.checksums import checksum
from streamsample.stores.coverage import Coverage
from streamsample.stores.disk import create_file, sync_folder, write_all
from streamsample.stores.manifest import Manifest

FORMAT = "streamsample-journal-1"


class Run(NamedTuple):
    """Encoded chunks of a slab that lie one after the other in one file.

    Terabytes are millions of chunks, so their lengths are kept as bytes: four a chunk, here and in memory.
    """

    key: str
    """The file, as its store names it; empty where there is one only."""
    offset: int
    """First byte of the first chunk."""
    sizes: bytes
    """Length of each chunk as encoded, as little-endian uint32, in C order of the grid of chunks."""

    @property
    def nbytes(self) -> int:
        """Size of all of them, encoded."""
        return int(np.frombuffer(self.sizes, "<u4").sum(dtype=np.int64))

    def to_json(self) -> list[Any]:
        """Return plain JSON types; the lengths in Base64."""
        return [self.key, self.offset, b64encode(self.sizes).decode()]

    @classmethod
    def from_json(cls, items: list[Any]) -> Run:
        """Undo `to_json`."""
        key, offset, sizes = items
        return cls(str(key), int(offset), b64decode(sizes, validate=True))


@dataclass(frozen=True, slots=True)
class Line:
    """One slab that is safely written."""

    slab: Slab
    """Positions within the selection."""
    checksums: tuple[int, ...]
    """CRC32C of the counts (C order, as computed, not as encoded) of each sample of the slab."""
    runs: tuple[Run, ...] = ()
    """For encoded formats, where the slab's chunks lie; none: raw counts at their own address."""

    def to_json(self) -> dict[str, Any]:
        """Return the line's object."""
        slab, items = self.slab, {}
        if self.runs:
            items["runs"] = [run.to_json() for run in self.runs]
        digits = [f"{value:08x}" for value in self.checksums]
        return {"samples": [slab.s0, slab.s1], "cells": [slab.n0, slab.n1], "crc32c": digits, **items}

    @classmethod
    def from_json(cls, items: dict[str, Any]) -> Line:
        """Undo `to_json`."""
        return cls(
            Slab(*items["samples"], *items["cells"]),
            tuple(int(digits, 16) for digits in items["crc32c"]),
            tuple(Run.from_json(run) for run in items.get("runs", ())),
        )


@dataclass(frozen=True)
class Record:
    """What a journal says."""

    manifest: Manifest
    """Of the run that writes the output; not complete, and without checksums."""
    lines: tuple[Line, ...] = ()
    """Slabs safely written, no count of them twice."""
    finished: bool = False
    """Whether everything is on the disk, and only the names are left."""

    @property
    def share(self) -> float:
        """Share of the counts that is safely written."""
        nsamples, ncells, _ = self.manifest.shape
        return sum(line.slab.nsamples * line.slab.ncells for line in self.lines) / (nsamples * ncells)


class Journal:
    """An open journal.

    Parameters
    ----------
    path
        The file, which `create` has made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._end = os.fstat(self._descriptor).st_size
        # A torn last line must not swallow the next one.
        if self._end and os.pread(self._descriptor, 1, self._end - 1) != b"\n":
            self._write(b"\n")

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> Journal:
        """Begin a journal: nothing is written yet of the run that `manifest` identifies."""
        create_file(path, _encode({"format": FORMAT, "manifest": manifest.to_json()}))
        sync_folder(path.parent)
        return cls(path)

    def append(self, lines: Iterable[Line]) -> None:
        """Add slabs whose bytes are on the disk; when this returns, their lines are too."""
        text = b"".join(_encode(line.to_json()) for line in lines)
        if text:
            self._write(text)
            os.fdatasync(self._descriptor)

    def finish(self) -> None:
        """Say that everything is on the disk, so that only the names are left."""
        self._write(_encode({"finished": True}))
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self, text: bytes) -> None:
        write_all(self._descriptor, memoryview(text), self._end)
        self._end += len(text)


def read_journal(path: Path) -> Record | None:
    """Read a journal; None where there is none, or nothing in it was ever safe.

    Raises
    ------
    StoreError
        If slabs were written, but it can't be said anymore of which run.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    head, *rest = text.split(b"\n")
    items = [found for line in rest if (found := _decode(line)) is not None]
    header = _decode(head)
    if header is None or header.get("format") != FORMAT:
        if not items:  # torn before the first slab was safe: there is nothing to lose
            return None
        raise StoreError(
            f"the first line of {path}, which names the run, is damaged, so it can't be continued; "
            "give overwrite=True (--overwrite) to start again"
        )
    finished = any("finished" in found for found in items)
    try:
        manifest = Manifest.from_json(header["manifest"], str(path))
        lines = tuple(_disjoint(Line.from_json(found) for found in items if "finished" not in found))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is a journal that this version can't read ({error})") from error
    return Record(manifest, lines, finished)


def _disjoint(lines: Iterable[Line]) -> Iterator[Line]:
    """Leave out lines of counts that an earlier line has."""
    there = Coverage()
    for line in lines:
        if not there.overlaps(line.slab):
            there.add(line.slab)
            yield line


def _encode(items: dict[str, Any]) -> bytes:
    text = json.dumps(items, separators=(",", ":")).encode()
    return text + f" {checksum(text):08x}\n".encode()


def _decode(line: bytes) -> dict[str, Any] | None:
    """Return a line's object, or None where it does not have its checksum."""
    text, _, digits = line.rpartition(b" ")
    if not text or digits != f"{checksum(text):08x}".encode():
        return None
    items: dict[str, Any] = json.loads(text)
    return items
