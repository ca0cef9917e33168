"""A few rows of a dataset, read without HDF5 where its numbers lie in the file as they are.

Opening a file by HDF5 takes 0.3 ms, whatever is read; a system call takes a microsecond. Where single counts of a
virtual dataset are wanted, that is what they cost.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray

if TYPE_CHECKING:
    import h5py

MOST_CALLS = 64
"""Runs of bytes above which HDF5 reads as fast."""


@dataclass(frozen=True)
class Place:
    """Where a dataset's numbers lie, one after the other."""

    offset: int
    """Of the first, in bytes."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self, file: int, samples: IndexArray, first: int, last: int) -> NDArray[Any]:
        """Read columns ``first:last`` of some samples, (s, ..., t).

        Raises
        ------
        ValueError
            If the file ends before.
        """
        per_sample, (ncolumns, itemsize) = math.prod(self.shape[1:-1]), (self.shape[-1], self.dtype.itemsize)
        rows = (samples[:, None] * per_sample + np.arange(per_sample)).ravel()
        runs = [os.pread(file, (last - first) * itemsize, self.offset + (row * ncolumns + first) * itemsize)
                for row in rows.tolist()]  # fmt: skip
        shape = samples.size, *self.shape[1:-1], last - first
        return np.frombuffer(b"".join(runs), dtype=self.dtype).reshape(shape)


@dataclass(frozen=True)
class Lying:
    """Datasets of a file that lie as they are, and by what to tell that it is still the same file."""

    places: Mapping[str, Place]
    stamp: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, datasets: Mapping[str, h5py.Dataset]) -> Lying | None:
        """Find the places of all datasets; None where one is encoded, in pieces, or in another file."""
        offsets = {name: None if found.external else found.id.get_offset() for name, found in datasets.items()}
        places = {
            name: Place(offset, datasets[name].dtype, datasets[name].shape)
            for name, offset in offsets.items()
            if offset is not None
        }
        return cls(places, _stamp(os.stat(path))) if len(places) == len(datasets) else None

    def read(self, path: Path, samples: IndexArray, features: IndexArray | None) -> dict[str, FloatArray] | None:
        """Read some samples and features of every dataset, (s, ..., t); None where that is for HDF5 to do or refuse."""
        lines = samples.size * sum(math.prod(place.shape[1:-1]) for place in self.places.values())
        if not 0 < lines <= MOST_CALLS:
            return None
        first = 0 if features is None else int(features.min())
        chosen = slice(None) if features is None else features - first
        with suppress(OSError, ValueError), path.open("rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self.stamp:
                return None
            found = {}
            for name, place in self.places.items():
                last = place.shape[-1] if features is None else int(features.max()) + 1
                block = place.read(file.fileno(), samples, first, last)[..., chosen]
                found[name] = np.ascontiguousarray(block, dtype=np.float64)
            return found
        return None


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    """Tell a file from one that took its place."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
