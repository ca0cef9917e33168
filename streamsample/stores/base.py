"""What a store is, and which one writes which files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamsample.geometry import Selection, Slab
from streamsample.parameters import Names
from streamsample.posterior import Posterior
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
    """An output while it is written."""

    def write(self, slab: Slab, counts: CountArray) -> None:
        """Write one slab (s, n, t); slabs come in file order."""

    def close(self) -> None:
        """Sync everything to the disk, and let go of the file."""


class Stored(Protocol):
    """An output that is there."""

    @property
    def manifest(self) -> Manifest:
        """The identity of the run that wrote it."""

    def read(self, slab: Slab) -> CountArray:
        """Read one slab (s, n, t)."""


class Store(Protocol):
    """One format of output; to add one is a file, a line in `STORES`, and a subclass of the contract test."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Every file of an output named `path`; the counts first."""

    def create(self, path: Path, manifest: Manifest, labels: Labels) -> Landing:
        """Write everything around the counts, with room for them."""

    def finish(self, path: Path, manifest: Manifest) -> None:
        """Put the finished run's manifest into a file whose counts are all written."""

    def open(self, path: Path) -> Stored:
        """Open an output, finished or not; raises `StoreError` on anything else."""


def store_for(path: Path) -> Store:
    """Return the store of a path's suffix, importing it; raises `PlanError` where there is none."""
    module, name = STORES[known_suffix(path)].split(":")
    store: Store = getattr(import_module(module), name)()
    return store
