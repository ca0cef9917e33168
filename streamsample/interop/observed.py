"""Observed counts beside predictive ones: the same cells and features in the same order, read when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from streamsample.counts import Counts
from streamsample.geometry import IndexArray, once, resolve
from streamsample.interop.counts import cell_rows, checked, feature_columns, layer_like_the_fits
from streamsample.interop.lazy import Outer
from streamsample.interop.table import Table, array_table, check_unique, open_table

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

_LOOK_ELEMENTS = 2**20  # counts that are checked before anything is asked for


@dataclass(frozen=True)
class _Place:
    """Where in a table the predictive counts' cells and features are."""

    layer: str | None
    """Of the counts; None is ``X``."""
    rows: IndexArray
    """(N,)."""
    columns: IndexArray
    """(T,)."""


def observed_counts(source: Any, counts: Counts, posterior: Posterior | None, layer: str | None) -> Outer:
    """Observed counts (N, T) of int32 in the order of predictive ones, checked to be counts when they are read.

    Parameters
    ----------
    source
        AnnData object, path of an ``.h5ad`` file, or a dense or sparse array (N, T).
    counts
        The predictive ones. Cells and features are joined by name where these have names, else by position.
    posterior
        Whose fit says in which layer it has found its counts.
    layer
        Layer of an AnnData that holds the counts; if left out, the fit's, or ``X``.

    Raises
    ------
    DataError
        If a cell, a feature or the layer is missing, names occur twice, an array has another shape, or the first rows
        hold no counts.
    """
    _, ncells, nfeatures = counts.shape
    by_name = isinstance(source, str | os.PathLike) or hasattr(source, "obs_names")
    if not by_name:
        source = array_table(source, "observed counts", (ncells, nfeatures))
    with open_table(source) as table:
        place = _Place(layer, np.arange(ncells), np.arange(nfeatures))
        if by_name:
            place = _found(table, counts, posterior, layer)
        some = max(1, _LOOK_ELEMENTS // max(1, nfeatures))
        _read(table, place.layer, np.sort(place.rows[:some]), place.columns)

    def read(key: tuple[Any, ...]) -> NDArray[np.int32]:
        with open_table(source) as table:
            return _part(table, place, key)

    return Outer((ncells, nfeatures), np.dtype(np.int32), read)


def _found(table: Table, counts: Counts, posterior: Posterior | None, layer: str | None) -> _Place:
    """Join cells and features, by name where the predictive counts have names."""
    _, ncells, nfeatures = counts.shape
    cells, features = counts.names
    if cells is not None:  # of cells that share a name, one's counts would stand beside the other's
        check_unique(cells, "the predictive counts", "cell names", "for_cells(names=...)")
    columns = feature_columns(table, features, nfeatures)
    return _Place(
        layer if posterior is None else layer_like_the_fits(table, posterior, layer),
        cell_rows(table, cells, ncells),
        np.arange(nfeatures) if columns is None else columns,
    )


def _part(table: Table, place: _Place, key: tuple[Any, ...]) -> NDArray[np.int32]:
    """Read an outer choice of cells and features, of which rows and columns are read once and in order."""
    sizes, axes = (place.rows.size, place.columns.size), ("cell", "feature")
    chosen = [resolve(k, size, axis) for k, size, axis in zip(key, sizes, axes, strict=True)]
    rows, columns = place.rows[chosen[0]], place.columns[chosen[1]]
    rising = once(rows), once(columns)
    found = _read(table, place.layer, *rising)
    back = (np.searchsorted(unique, index) for unique, index in zip(rising, (rows, columns), strict=True))
    whole = found[np.ix_(*back)]
    return np.asarray(whole[tuple(0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None) for k in key)])


def _read(table: Table, layer: str | None, rows: IndexArray, columns: IndexArray) -> NDArray[np.int32]:
    """(n, t) counts at rising rows and some columns, beside which a few MiB are held."""
    found = np.empty((rows.size, columns.size), dtype=np.int32)
    for n0, n1, block in _blocks(table, layer, rows, columns):
        found[n0:n1] = checked(table, layer, block, rows[n0:n1], columns).toarray()
    return found


def _blocks(table: Table, layer: str | None, rows: IndexArray, columns: IndexArray) -> Iterator[tuple[int, int, Any]]:
    """Yield ``(n0, n1, values)`` of the wanted columns, some rows at a time."""
    matrix = table.matrix(layer)
    if getattr(matrix, "format", None) == "csc":  # columns are what such a store is read by
        kept = once(columns)
        part = sparse.csr_matrix(matrix[:, kept])
        yield 0, rows.size, part[rows][:, np.searchsorted(kept, columns)]
        return
    for n0 in range(0, rows.size, table.block_rows):
        wanted = rows[n0 : n0 + table.block_rows]
        run = wanted[-1] - wanted[0] == wanted.size - 1  # a slice, where it will do, is far faster in files
        yield n0, n0 + wanted.size, matrix[slice(wanted[0], wanted[-1] + 1) if run else wanted][:, columns]
