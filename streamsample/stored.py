"""Files of counts as arrays, and the one function that opens whatever holds counts."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.counts import Counts
from streamsample.errors import StoreError
from streamsample.geometry import IndexArray, Shape
from streamsample.parameters import Names
from streamsample.stores.base import store_for
from streamsample.stores.manifest import Manifest
from streamsample.stores.reader import Reader, read_labels, reader_of


class StoredCounts(Counts):
    """Counts in a finished file that `sample` wrote, read when they are asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    PlanError
        If the suffix is not one of ours.
    StoreError
        If the file is missing, not ours, or not complete.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        stored = store_for(self.path).open(self.path)
        self.manifest: Manifest = stored.manifest
        if not self.manifest.complete:
            raise StoreError(f"{path} is not complete; finish it first with: streamsample sample --resume")
        self.selection = self.manifest.selection
        self.dtype = np.dtype(self.manifest.dtype)
        self._reader: Reader = reader_of(stored)

    def __repr__(self) -> str:
        """Tell file, shape, type and seed."""
        return (
            f"<StoredCounts {self.path.name} {self.shape} (samples, cells, features) {self.dtype.name} "
            f"seed={self.manifest.seed}>"
        )

    @cached_property
    def names(self) -> tuple[Names | None, Names | None]:
        """Names of the cells (N,) and features (T,), where the file has any."""
        labels = read_labels(self.path)
        return labels.cells, labels.features

    @property
    def chunks(self) -> Shape:
        """Sizes of what the file encodes as one; where the counts lie as they are, `piece`."""
        return self._reader.chunks or self.piece

    @property
    def _rows(self) -> int:
        """Cells of a piece are a multiple of a chunk's."""
        return 4 if self._reader.chunks is None else self._reader.chunks[1]

    def _read(self, samples: IndexArray, cells: IndexArray, features: IndexArray) -> NDArray[Any]:
        if not (samples.size and cells.size and features.size):
            return np.empty((samples.size, cells.size, features.size), dtype=self.dtype)
        return self._reader.read((samples, cells, features))


def open(path: str | os.PathLike[str]) -> Counts:
    """Open counts of any kind: a file that `sample` wrote, or a virtual dataset.

    Parameters
    ----------
    path
        ``counts.h5``, ``counts.npy``, ``counts.zarr``, or what ``streamsample virtual`` wrote.

    Returns
    -------
    Counts
        `StoredCounts`, or a `CountStream`; both are read like NumPy arrays.

    Raises
    ------
    PlanError
        If the suffix is not one of ours.
    StoreError
        If the file is missing, damaged, not complete or not ours.
    """
    from streamsample.virtual import is_virtual, open_virtual

    if is_virtual(Path(path)):
        return open_virtual(Path(path))
    return StoredCounts(path)
