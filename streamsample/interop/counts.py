"""Observed counts, read from an AnnData and checked to be counts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from streamsample.errors import DataError
from streamsample.geometry import IndexArray
from streamsample.interop.table import Table, called, check_unique, open_table
from streamsample.parameters import FloatArray, Names

if TYPE_CHECKING:
    from anndata import AnnData

    from streamsample.posterior import Posterior

_log = logging.getLogger(__name__)

COUNT_MAX = 2**31 - 1
_LOOK_NCELLS = 1000  # rows that tell whether a layer holds counts


def as_counts(
    values: Any,
    what: str,
    *,
    rows: IndexArray | None = None,
    columns: IndexArray | None = None,
    remedy: Callable[[], str] = lambda: "give raw counts",
) -> sparse.csr_matrix:
    """Turn a dense or sparse block of counts, of whatever number type, into a CSR matrix of int32.

    Parameters
    ----------
    values
        (N, T) NumPy array or SciPy sparse matrix or array; floats are fine if they are whole.
    what, remedy
        How errors begin and end.
    rows, columns
        (N,) and (T,) numbers that errors give to cells and features, where these are a selection.

    Raises
    ------
    DataError
        On NaN, negative, fractional or too large values, or anything that is not a number.
    """
    if not sparse.issparse(values):
        values = np.asarray(values)
        if values.ndim != 2:
            raise DataError(f"{what} has shape {values.shape}; counts are cells x features")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {values.dtype}, not numbers; {remedy()}")
    matrix = sparse.csr_matrix(values)
    wrong = _not_counts(matrix.data)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        n = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
        t = int(matrix.indices[first])
        where = f"(n={n if rows is None else int(rows[n])}, t={t if columns is None else int(columns[t])})"
        raise DataError(
            f"{what} does not hold counts: {int(wrong.sum())} values seen are NaN, negative, fractional or above "
            f"{COUNT_MAX}, the first is {matrix.data[first]:g} at {where}; {remedy()}"
        )
    matrix = sparse.csr_matrix((matrix.data.astype(np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _not_counts(data: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of values that are no counts."""
    if data.dtype.kind in "bu":
        return np.asarray(data > COUNT_MAX)
    if data.dtype.kind == "i":
        return np.asarray((data < 0) | (data > COUNT_MAX))
    # NaN fails both comparisons, infinity the second.
    return np.asarray(~((data >= 0) & (data <= COUNT_MAX)) | (np.floor(data) != data))


def holds_counts(table: Table, layer: str | None) -> bool:
    """Tell from its first rows whether a layer holds counts."""
    matrix = table.matrix(layer)
    try:
        as_counts(matrix[: min(_LOOK_NCELLS, table.shape[0])], "a layer")
    except DataError:
        return False
    return True


def layer_like_the_fits(table: Table, posterior: Posterior, layer: str | None) -> str | None:
    """Choose where a table's counts are: the given layer, else the fit's, else an ``X`` that holds counts.

    The fit's name stands where the table has neither, so that reading it tells what there is.
    """
    fits = posterior.origin.layer
    if layer is not None or fits is None or fits in table.matrices:
        return fits if layer is None else layer
    if "X" not in table.matrices or not holds_counts(table, None):
        return fits
    _log.info("%s has no layer %r, which the fit has used, and X holds counts: X is taken", table.label, fits)
    return None


def read_counts(
    table: Table, layer: str | None, cells: NDArray[np.bool_] | None = None, features: IndexArray | None = None
) -> sparse.csr_matrix:
    """Read the counts of some cells and features as a CSR matrix (N, T) of int32.

    Parameters
    ----------
    table
        Where from; only a few MiB of it are held at a time beside the result.
    layer
        Name of the layer; None is ``X``.
    cells
        (N of the table,) mask; None is all of them.
    features
        Columns, in the order wanted; None is all of them.

    Raises
    ------
    DataError
        If these are not counts; tells which layer holds counts, if one does.
    """
    blocks = []
    for n0, rows in table.blocks(layer):
        numbers = np.arange(n0, n0 + rows.shape[0])
        if cells is not None:
            numbers = numbers[cells[numbers]]
            if not numbers.size:
                continue
            rows = rows[numbers - n0]
        if features is not None:
            rows = rows[:, features]
        blocks.append(checked(table, layer, rows, numbers, features))
    return sparse.vstack(blocks, format="csr")


def checked(
    table: Table, layer: str | None, values: Any, rows: IndexArray, columns: IndexArray | None
) -> sparse.csr_matrix:
    """Check a block of some rows and columns, with the table's own numbers and layers in the error."""
    what = f"{table.label}, {called(layer or 'X')}"
    return as_counts(values, what, rows=rows, columns=columns, remedy=lambda: _remedy(table, layer))


def _remedy(table: Table, layer: str | None) -> str:
    """Name the layers that do hold counts."""
    good = [name for name in table.matrices if name != (layer or "X") and holds_counts(table, name)]
    if not good:
        return "no layer of it holds counts: give raw counts"
    return f"counts are in {', '.join(repr(name) for name in good)}: give layer={good[0]!r}"


def totals(table: Table, layer: str | None, features: IndexArray | None = None) -> FloatArray:
    """(N,) total count of each cell over some features, of which no more than a block is held."""
    sums = np.zeros(table.shape[0])
    for n0, rows in table.blocks(layer):
        numbers = np.arange(n0, n0 + rows.shape[0])
        block = checked(table, layer, rows if features is None else rows[:, features], numbers, features)
        sums[numbers] = np.asarray(block.sum(axis=1)).ravel()
    return sums


def observed(
    posterior: Posterior, source: str | os.PathLike[str] | AnnData, *, layer: str | None = None
) -> sparse.csr_matrix:
    """Read the counts that were observed in a posterior's cells and features.

    Parameters
    ----------
    posterior
        Its cells and features are looked up by name; without names, all of the file in its order.
    source
        AnnData object, or path of an ``.h5ad`` file.
    layer
        Where the counts are; if left out, the fit's layer, or ``X`` if that one is not there and ``X`` holds counts.

    Returns
    -------
    scipy.sparse.csr_matrix
        (N, T) int32, in the posterior's order.

    Raises
    ------
    DataError
        If a cell or a feature is not there, of which it names how many and the first; or no such layer.
    """
    _, ncells, nfeatures = posterior.shape
    with open_table(source) as table:
        layer = layer_like_the_fits(table, posterior, layer)
        features = feature_columns(table, posterior.facts.feature_names, nfeatures)
        if posterior.cells.names is None:
            cell_rows(table, None, ncells)
            return read_counts(table, layer, None, features)
        rows = cell_rows(table, posterior.cells.names, ncells)
        wanted = np.zeros(table.shape[0], dtype=bool)
        wanted[rows] = True
        found = read_counts(table, layer, wanted, features)
        return found[np.searchsorted(np.flatnonzero(wanted), rows)]


def feature_columns(table: Table, names: Names | None, nfeatures: int) -> IndexArray | None:
    """Columns of a posterior's features, joined by name; None (as they are) where it has no names."""
    if names is not None:
        return np.asarray(table.positions(names), dtype=np.int64)
    if table.shape[1] != nfeatures:
        raise DataError(
            f"{table.label} has {table.shape[1]} features but the posterior has {nfeatures}, without names to join by"
        )
    return None


def cell_rows(table: Table, names: Names | None, ncells: int) -> IndexArray:
    """(N,) rows of a posterior's cells, joined by name; as they are where it has no names.

    Raises
    ------
    DataError
        If one is missing, a name of the table is not unique, or without names the numbers differ.
    """
    if names is None:
        if table.shape[0] != ncells:
            raise DataError(
                f"{table.label} has {table.shape[0]} cells but the posterior has {ncells}, without names to join by"
            )
        return np.arange(ncells)
    check_unique(table.cells, table.label, "cell names", "obs_names_make_unique()")
    where = {str(name): n for n, name in enumerate(table.cells)}
    missing = [str(name) for name in names if str(name) not in where]
    if missing:
        raise DataError(f"{table.label} lacks {len(missing)} of {names.size} cells, {missing[0]!r} first")
    return np.array([where[str(name)] for name in names], dtype=np.int64)
