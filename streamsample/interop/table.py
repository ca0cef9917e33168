"""What is asked of an AnnData, the same for a file and for an object in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from streamsample.errors import DataError
from streamsample.parameters import Names, names_array

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData
    from pandas import DataFrame

_BLOCK_ELEMENTS = 2**22  # counts looked at together: 32 MiB as float64


@dataclass(frozen=True)
class Table:
    """Annotated counts: annotation read, counts not."""

    label: str
    """What errors call it: the path, or ``the AnnData object``."""
    obs: DataFrame
    """(N, columns) annotation of the cells."""
    features: Names
    """(T,) names."""
    matrices: dict[str, Any]
    """``X``, where there is one, and the layers: anything of which ``[n0:n1]`` are rows, in memory or not."""
    obsm: Mapping[str, Callable[[], Any]]
    """What reads each matrix (N, K) that goes with the cells: an array, a sparse matrix or a DataFrame."""

    @property
    def cells(self) -> Names:
        """(N,) names."""
        return np.asarray(self.obs.index.astype(str), dtype=np.str_)

    @property
    def shape(self) -> tuple[int, int]:
        """Sizes ``(N, T)``."""
        return len(self.obs), self.features.size

    @property
    def block_rows(self) -> int:
        """Rows that are looked at together, a few MiB."""
        return max(1, _BLOCK_ELEMENTS // max(1, self.shape[1]))

    def matrix(self, layer: str | None) -> Any:
        """Return the counts of a layer, of ``X`` for None.

        Raises
        ------
        DataError
            If there is no such layer; those there are listed.
        """
        name = layer or "X"
        if name not in self.matrices:
            there = ", ".join(self.matrices) or "none"
            raise DataError(f"{self.label} has no {called(name)}; give layer= one of those there: {there}")
        return self.matrices[name]

    def blocks(self, layer: str | None) -> Iterator[tuple[int, Any]]:
        """Yield ``(n0, rows)`` from top to bottom, a few MiB at a time."""
        matrix = self.matrix(layer)
        if getattr(matrix, "format", None) == "csc":  # rows of a column store: all of it or a scan for each block
            matrix = (matrix.to_memory() if hasattr(matrix, "to_memory") else matrix).tocsr()
        for n0 in range(0, self.shape[0], self.block_rows):
            yield n0, matrix[n0 : n0 + self.block_rows]

    def positions(self, features: Names) -> Any:
        """(T,) columns of the named features.

        Raises
        ------
        DataError
            If one is missing, or a name of the table is not unique.
        """
        check_unique(self.features, self.label, "feature names", "var_names_make_unique()")
        where = {str(name): t for t, name in enumerate(self.features)}
        missing = [str(name) for name in features if str(name) not in where]
        if missing:
            raise DataError(
                f"{self.label} lacks {len(missing)} of {len(features)} features, {missing[0]!r} first; "
                f"it has {self.features.size}, such as {str(self.features[0])!r}"
            )
        return np.array([where[str(name)] for name in features], dtype=np.int64)


def check_unique(names: Names, label: str, what: str, remedy: str) -> None:
    """Refuse names that occur twice."""
    values, counts = np.unique(names, return_counts=True)
    twice = values[counts > 1]
    if twice.size:
        raise DataError(
            f"{label}: {twice.size} {what} occur twice, {str(twice[0])!r} first; make them unique ({remedy})"
        )


def array_table(values: Any, label: str, shape: tuple[int, int]) -> Table:
    """Look at a dense or sparse array (N, T) without names.

    Raises
    ------
    DataError
        If it has another shape.
    """
    from pandas import DataFrame

    array: Any = values if hasattr(values, "shape") else np.asarray(values)
    if tuple(array.shape) != shape:
        raise DataError(f"{label} have shape {tuple(array.shape)}; they need {shape}")
    rows = array.tocsr() if sparse.issparse(array) and array.format != "csc" else array
    return Table(label, DataFrame(index=range(shape[0])), np.arange(shape[1]).astype(np.str_), {"X": rows}, {})


@contextmanager
def open_table(source: str | os.PathLike[str] | AnnData | Table) -> Iterator[Table]:
    """Open an AnnData object, or an ``.h5ad`` file of which only what is asked for is read.

    Raises
    ------
    DataError
        If there is no such file, or it is not an AnnData file.
    """
    if not isinstance(source, str | os.PathLike):
        yield source if isinstance(source, Table) else _of_object(source)
        return
    path = Path(source)
    with _opened(path) as file:
        yield _of_file(path, file)


def _of_object(data: AnnData) -> Table:
    """Look at an object in memory, or backed."""
    matrices = {} if data.X is None else {"X": data.X}
    matrices |= {str(name): data.layers[name] for name in data.layers}
    obsm = {str(name): partial(data.obsm.__getitem__, name) for name in data.obsm}
    return Table("the AnnData object", data.obs, _names(data.var_names), matrices, obsm)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; whatever else it may be is told in one line."""
    import h5py

    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an .h5ad file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        with path.open("rb") as raw:
            begins = raw.read(24)
        if begins.startswith(b"\x89HDF"):
            raise DataError(f"{path} is a damaged HDF5 file ({error})") from error
        raise DataError(f"{path} is not an .h5ad (HDF5) file: it begins with {begins!r}") from error
    with file:
        yield file


def _of_file(path: Path, file: h5py.File) -> Table:
    """Read the annotation of an open file; counts stay there."""
    from anndata.io import read_elem

    missing = [name for name in ("obs", "var") if name not in file]
    if missing:
        there = ", ".join(sorted(file)) or "nothing"
        raise DataError(f"{path} is an HDF5 file but not an AnnData one: it has no {missing[0]}, it holds {there}")
    elements = {"X": file["X"]} if "X" in file else {}
    elements |= {name: file["layers"][name] for name in file.get("layers", ())}
    matrices = {name: _lazily(element) for name, element in elements.items() if not _is_null(element)}
    obsm = {name: partial(read_elem, file["obsm"][name]) for name in file.get("obsm", ())}
    return Table(str(path), read_elem(file["obs"]), _names(read_elem(file["var"]).index), matrices, obsm)


def _lazily(element: h5py.Dataset | h5py.Group) -> Any:
    """Rows of a dense dataset, or of a sparse group, that are read when they are asked for."""
    import h5py
    from anndata.io import sparse_dataset

    return element if isinstance(element, h5py.Dataset) else sparse_dataset(element)


def _is_null(element: h5py.Dataset | h5py.Group) -> bool:
    """Tell an ``X`` that is None, which newer files write as an empty dataset."""
    return getattr(element, "shape", ()) is None


def _names(index: Any) -> Names:
    names = names_array(list(index))
    assert names is not None  # for the type checker: the index is never None
    return names


def called(name: str) -> str:
    """Write the name of a matrix for an error."""
    return "X" if name == "X" else f"layer {name!r}"
