"""What a store is, and which one writes which files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamsample.geometry import Selection, Slab
from streamsample.parameters import Names
from streamsample.posterior import Posterior
from streamsample.stores.disk import Check, unchecked
from streamsample.stores.journal import Line, Run
from streamsample.stores.manifest import Manifest
from streamsample.target import STORES, known_suffix

CountArray = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Labels:
    """Names along the axes of the selection, where the posterior has any."""

    cells: Names | None = None
    """(N,)."""
    features: Names | None = None
    """(T,)."""

    @classmethod
    def of(cls, posterior: Posterior, selection: Selection) -> Labels:
        """Take the names of what is selected."""
        cells, features = posterior.cells.names, posterior.facts.feature_names
        return cls(
            None if cells is None else cells[selection.cells],
            None if features is None else features[selection.features],
        )


class Landing(Protocol):
    """An output while it is written; one thread writes."""

    def write(self, slab: Slab, counts: CountArray, check: Check = unchecked) -> tuple[Run, ...]:
        """Write one slab (s, n, t), and return where its encoded chunks are; nothing for raw formats.

        Slabs come in file order, except that a resumed run has holes; no count is written twice. A slab spans all
        cells, or holds cells of one sample, or is one of the plan's units (`Plan.slab_unit`) put together.
        `check` is asked before each piece of some MiB, and what it raises ends the write. Nothing needs to be on the
        disk yet. Raises `DiskRefused` where the disk does not take it.
        """

    def phase(self, slab: Slab) -> int:
        """Say how many bytes behind the beginning of a block a slab should lie in memory, to be written as it is.

        Only a hint, below `direct.BLOCK_NBYTES`: what lies elsewhere is copied.
        """

    def sync(self) -> None:
        """Put everything written so far on the disk; only after that does the journal get its lines."""

    def close(self) -> None:
        """Let go of the files; what was not synced may be lost."""


class Stored(Protocol):
    """An output that is there."""

    @property
    def manifest(self) -> Manifest:
        """The identity of the run that wrote it."""

    def read(self, slab: Slab) -> CountArray:
        """Read any block (s, n, t); raises `StoreError` where the file ends too early or a chunk can't be decoded."""

    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless all that is not counts (headers, names, the manifest) is as it was written."""


class Store(Protocol):
    """One format of output; to add one is a file, a line in `STORES`, and a subclass of the contract test.

    The files of an output are a frame (headers, names, manifest) and counts. The frame is a function of manifest and
    labels; `begin` and `finish` may therefore write it any number of times, and a process may be killed within them.
    """

    is_folder: bool
    """Whether an output is a folder with many files in it."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Every file (or folder) of an output named `path`; the counts first."""

    def begin(self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line], threads: int = 1) -> Landing:
        """Make an output, or continue one of which the journal has `lines`, with room for all counts.

        Without lines nothing of what is there under this name is to be trusted, and what is there is replaced. With
        lines their counts, and nothing else, are on the disk. When this returns, the files' names and sizes last
        (synced); the journal is begun after it. `threads` may encode.
        """

    def finish(self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line], /) -> None:
        """Make a file of it that others read: all slabs are written, synced and among `lines`.

        `manifest` is complete and has the table of checksums. Everything is synced when this returns.
        """

    def open(self, path: Path) -> Stored:
        """Open an output, finished or not; raises `StoreError` on anything else."""


def store_for(path: Path) -> Store:
    """Return the store of a path's suffix, importing it; raises `PlanError` where there is none."""
    module, name = STORES[known_suffix(path)].split(":")
    store: Store = getattr(import_module(module), name)()
    return store
