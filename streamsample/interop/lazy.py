"""Counts as a lazy array, as xarray and Dask take one: nothing is made before it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.counts import Counts
from streamsample.interop.extras import need
from streamsample.stream import CountStream

if TYPE_CHECKING:
    import dask.array

VARIABLE = "counts"

_TURN = threading.RLock()
"""One thread at a time makes counts: a kernel takes all threads anyway, and two at once abort Numba's workqueue."""


class Outer:
    """A lazy array that is indexed along each axis by itself, which is all that xarray and Dask ask of one.

    Parameters
    ----------
    shape, dtype
        What it stands for.
    read
        Called with a slice or an index array for each axis, integers dropping theirs.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[tuple[Any, ...]], NDArray[Any]]
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self._read = read

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Make a part."""
        return np.asarray(self._read(key if isinstance(key, tuple) else (key,)))


def of_counts(counts: Counts) -> Outer:
    """Counts [S, N, T] as a lazy array."""
    return Outer(counts.shape, counts.dtype, _Reader(counts))


class _Reader:
    """Reads counts, streams in turn; a class, so that it can be sent to other processes."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def __call__(self, key: tuple[Any, ...]) -> Any:
        if not isinstance(self._counts, CountStream):
            return self._counts[key]
        with _TURN:
            return self._counts[key]


def coordinates(counts: Counts) -> dict[str, Any]:
    """Labels of the three axes: indices of the samples; names, or indices into the posterior where there are none."""
    cells, features = counts.names
    chosen = counts.selection
    return {
        "sample": chosen.samples,
        "cell": chosen.cells if cells is None else cells.astype(object),
        "feature": chosen.features if features is None else features.astype(object),
    }


def to_dask(counts: Counts, chunks: Any = None) -> dask.array.Array:
    """View counts as a Dask array; see `Counts.to_dask`."""
    array = need("dask.array", "a view in Dask", "dask")
    made: dask.array.Array = array.from_array(
        of_counts(counts),
        chunks=counts.piece if chunks is None else chunks,
        name=False,  # no hash: that would read every draw
        meta=np.empty((0, 0, 0), dtype=counts.dtype),
    )
    return made
