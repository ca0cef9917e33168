"""What is known of each cell beside its depth and group: a matrix of cells by covariates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray, Names, list_names, names_array

MOST_DENSE = 64
"""Columns of a matrix that is kept dense; with more it is kept as CSR, whatever it came as."""

_NO_NUMBERS, _NO_INDEX = np.empty(0), np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Design:
    """A matrix of N cells and K covariates, dense or as compressed sparse rows (CSR); make one with `Design.of`."""

    shape: tuple[int, int]
    """(N, K)."""
    dense: FloatArray | None = None
    """(N, K) in C order, None where it is sparse."""
    indptr: IndexArray = field(default_factory=_NO_INDEX.copy)
    """(N + 1,) where each cell's values begin; empty where it is dense."""
    indices: IndexArray = field(default_factory=_NO_INDEX.copy)
    """Covariates of the values, rising within a cell."""
    data: FloatArray = field(default_factory=_NO_NUMBERS.copy)
    """The values."""
    names: Names | None = None
    """(K,) of the covariates, or None."""

    @classmethod
    def of(cls, values: Any) -> Design:
        """Take a matrix.

        Parameters
        ----------
        values
            A design; or (N, K) numbers: an array, a sparse matrix of SciPy, or a DataFrame, whose columns give names.

        Raises
        ------
        PosteriorError
            If it is no matrix, has no columns, or holds what is no finite number.
        """
        if isinstance(values, Design):
            return values
        if hasattr(values, "tocsr"):
            return _from_sparse(values)
        names = names_array(list(values.columns)) if hasattr(values, "columns") else None
        try:
            # A frame's columns one by one: together, numbers and True become objects.
            array = np.asarray(values) if names is None else np.column_stack([values[name] for name in values.columns])
        except ValueError as error:
            raise PosteriorError(f"design is not an array: {error}") from error
        if array.ndim != 2 or array.shape[1] == 0:
            raise PosteriorError(f"design has shape {array.shape}; it needs 2 axes, [N, K], and a column")
        matrix = np.ascontiguousarray(_numbers(array))
        if matrix.shape[1] <= MOST_DENSE:
            return cls(_shape(matrix), matrix, names=names)
        rows, columns = np.nonzero(matrix)
        indptr = np.searchsorted(rows, np.arange(len(matrix) + 1)).astype(np.int64)
        return cls(_shape(matrix), None, indptr, columns.astype(np.int64), matrix[rows, columns], names)

    @classmethod
    def from_csr(cls, shape: tuple[int, int], indptr: Any, indices: Any, data: Any) -> Design:
        """Take the three arrays of compressed sparse rows; within a row covariates rise, each at most once.

        Raises
        ------
        PosteriorError
            If they are no such matrix, or hold what is no finite number.
        """
        starts, columns = (np.ascontiguousarray(array, dtype=np.int64) for array in (indptr, indices))
        nrows, ncolumns = shape
        whole = starts.shape == (nrows + 1,) and columns.ndim == 1 and columns.shape == np.shape(data)
        if not whole or ncolumns < 1 or starts[0] != 0 or starts[-1] != columns.size or (np.diff(starts) < 0).any():
            raise PosteriorError(
                f"design is no CSR matrix of shape {shape}: it has {starts.size} row pointers, {columns.size} indices "
                f"and {np.size(data)} values"
            )
        if columns.size and not 0 <= columns.min() <= columns.max() < ncolumns:
            raise PosteriorError(f"design has indices from {columns.min()} to {columns.max()} but {ncolumns} columns")
        if (np.diff(_row_of(starts) * ncolumns + columns) <= 0).any():
            raise PosteriorError("design has rows whose indices don't rise; sort them (SciPy: sum_duplicates())")
        return cls((nrows, ncolumns), None, starts, columns, _numbers(np.asarray(data)))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        if self.dense is not None:
            return self.dense.nbytes
        return self.indptr.nbytes + self.indices.nbytes + self.data.nbytes

    def take(self, cells: IndexArray) -> Design:
        """Rows of some cells, in their order."""
        shape = cells.size, self.shape[1]
        if self.dense is not None:
            return replace(self, shape=shape, dense=self.dense[cells])
        lengths = np.diff(self.indptr)[cells]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        # Each value's place: where its row begins, and how far into the row it is.
        places = np.repeat(self.indptr[cells] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return replace(self, shape=shape, indptr=indptr, indices=self.indices[places], data=self.data[places])

    def to_array(self) -> FloatArray:
        """Return the matrix as (N, K) numbers, zeros written out."""
        if self.dense is not None:
            return self.dense
        array = np.zeros(self.shape)
        array[_row_of(self.indptr), self.indices] = self.data
        return array

    def rows(self) -> tuple[IndexArray, IndexArray, FloatArray]:
        """Return the matrix as CSR, (indptr, indices, data), without zeros: the same arrays whichever form it has."""
        if self.dense is not None:
            row, column = np.nonzero(self.dense)
            data = self.dense[row, column]
        else:
            kept = np.flatnonzero(self.data)
            row, column, data = _row_of(self.indptr)[kept], self.indices[kept], self.data[kept]
        lengths = np.bincount(row, minlength=self.shape[0])
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), column.astype(np.int64), data

    def named(self, names: Names) -> Design:
        """Return the columns of these names, in this order, where the design has names; else all, as they are.

        Raises
        ------
        PosteriorError
            If there is no column of one of the names.
        """
        if self.names is None or np.array_equal(self.names, names):
            return self
        places = {str(name): k for k, name in enumerate(self.names)}
        missing = [name for name in names if str(name) not in places]
        if missing:
            raise PosteriorError(
                f"design has no column {str(missing[0])!r} ({len(missing)} such); it has {list_names(self.names)}"
            )
        chosen = np.array([places[str(name)] for name in names], dtype=np.int64)
        shape = self.shape[0], chosen.size
        if self.dense is not None:
            return replace(self, shape=shape, dense=np.ascontiguousarray(self.dense[:, chosen]), names=names)
        new = np.full(self.shape[1], -1, dtype=np.int64)
        new[chosen] = np.arange(chosen.size)
        row, column = _row_of(self.indptr), new[self.indices]
        order = np.lexsort((column, row))
        order = order[column[order] >= 0]
        indptr = np.searchsorted(row[order], np.arange(shape[0] + 1)).astype(np.int64)
        return Design(shape, None, indptr, column[order], self.data[order], names)


def _from_sparse(matrix: Any) -> Design:
    """Take a sparse matrix of SciPy."""
    if len(matrix.shape) != 2:
        raise PosteriorError(f"design has shape {matrix.shape}; it needs 2 axes, [N, K]")
    csr = matrix.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    return Design.from_csr(_shape(csr), csr.indptr, csr.indices, csr.data)


def _numbers(array: NDArray[Any]) -> FloatArray:
    """Float64 of finite numbers, else an error that names the first that is none."""
    if array.dtype.kind not in "iufb":
        raise PosteriorError(
            f"design holds {array.dtype}, not numbers; categories become columns of 0 and 1 (pandas.get_dummies)"
        )
    values = array.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f"at (n={first[0]}, k={first[1]})" if len(first) == 2 else f"(number {first[0]} of those stored)"
        raise PosteriorError(
            f"design must be finite: {int(bad.sum())} of {bad.size} values are not, "
            f"the first is {values[first]:g} {where}"
        )
    return values


def _row_of(indptr: IndexArray) -> IndexArray:
    """Row of each value."""
    return np.repeat(np.arange(indptr.size - 1), np.diff(indptr))


def _shape(matrix: Any) -> tuple[int, int]:
    return int(matrix.shape[0]), int(matrix.shape[1])
