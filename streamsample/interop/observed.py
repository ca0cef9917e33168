"""Observed counts beside predictive ones: the same cells and features in the same order, read when asked for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.counts import Counts
from streamsample.errors import DataError
from streamsample.geometry import IndexArray, resolve
from streamsample.interop.lazy import Outer
from streamsample.interop.table import open_table
from streamsample.parameters import Names


def observed_counts(source: Any, counts: Counts) -> Outer:
    """Observed counts (N, T) in the order of predictive ones.

    Parameters
    ----------
    source
        AnnData object, path of an ``.h5ad`` file, or a dense or sparse array (N, T).
    counts
        The predictive ones. Cells and features are joined by name where these have names, else by position.

    Raises
    ------
    DataError
        If a cell or feature is missing, or an array has another shape.
    """
    _, ncells, nfeatures = counts.shape
    if not (isinstance(source, str | os.PathLike) or hasattr(source, "obs_names")):
        array = source if hasattr(source, "shape") else np.asarray(source)
        if tuple(array.shape) != (ncells, nfeatures):
            raise DataError(f"observed counts have shape {tuple(array.shape)}; they need {(ncells, nfeatures)}")
        matrix = array.tocsr() if hasattr(array, "tocsr") else array
        return Outer((ncells, nfeatures), np.dtype(matrix.dtype), lambda key: _part(matrix, key, (ncells, nfeatures)))
    with open_table(source) as table:
        cells, features = counts.names
        rows = _places(cells, table.cells, ncells, f"{table.label}: cell")
        columns = _places(features, table.features, nfeatures, f"{table.label}: feature")
        dtype = np.dtype(table.matrix(None).dtype)

    def read(key: tuple[Any, ...]) -> NDArray[Any]:
        with open_table(source) as table:
            return _part(table.matrix(None), (rows[key[0]], columns[key[1]]), table.shape)

    return Outer((ncells, nfeatures), dtype, read)


def _places(wanted: Names | None, there: Names, size: int, what: str) -> IndexArray:
    """Positions of names among others; where there are no names, the positions as they are."""
    if wanted is None:
        if there.size != size:
            raise DataError(f"{what}s number {there.size}, the counts have {size} and no names to join them by")
        return np.arange(size)
    where = {str(name): place for place, name in enumerate(there)}
    missing = [str(name) for name in wanted if str(name) not in where]
    if missing:
        raise DataError(f"{what} {missing[0]!r} is not there ({len(missing)} of {wanted.size} are missing)")
    return np.array([where[str(name)] for name in wanted], dtype=np.int64)


def _part(matrix: Any, key: tuple[Any, ...], shape: tuple[int, int]) -> NDArray[Any]:
    """Read an outer choice of a matrix in memory or in a file, rows first."""
    rows, columns = (resolve(k, size, axis) for k, size, axis in zip(key, shape, ("cell", "feature"), strict=True))
    once, back = np.unique(rows, return_inverse=True)  # files want rising positions
    part = matrix[once]
    dense = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
    chosen = dense[back][:, columns]
    return chosen[tuple(0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None) for k in key)]
