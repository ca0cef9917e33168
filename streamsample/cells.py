"""The cells that parameters are applied to, and how those of the fit were described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.designs import Design
from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray, Names, floating_array, list_names, names_array


@dataclass(frozen=True)
class Cells:
    """The cells that the draws are applied to."""

    size_factor: FloatArray
    """(N,)."""
    group: IndexArray
    """(N,) in [0, C)."""
    names: Names | None = None
    """(N,) or None."""
    design: Design | None = None
    """(N, K) covariates, where the draws have coefficients of them."""


@dataclass(frozen=True)
class Origin:
    """How the cells of the fit were described, so that other cells can be described alike."""

    size_factor_scale: float | None = None
    """Total count that a size factor of 1 stands for."""
    group_key: tuple[str, ...] = ()
    """Columns of ``obs`` whose values name the groups."""
    sum_factor_key: str | None = None
    """Column of ``obs`` that held the size factors."""
    layer: str | None = None
    """Layer that held the counts."""


def make_cells(
    size_factor: ArrayLike | None,
    group: ArrayLike | None,
    n_cells: int | None,
    names: Sequence[str] | Names | None,
    design: Design | None = None,
) -> Cells:
    """Fill in what may be left out of a description of cells, and check the values."""
    if size_factor is None:
        if n_cells is None and design is not None:
            n_cells = design.shape[0]
        if n_cells is None or n_cells < 1:
            raise PosteriorError(f"without size_factor the number of cells is needed, but n_cells is {n_cells}")
        size_factor = np.ones(n_cells)
    factors = np.ascontiguousarray(floating_array(size_factor, "size_factor", 1), dtype=np.float64)
    if n_cells is not None and factors.size != n_cells:
        raise PosteriorError(f"there are {factors.size} size factors for n_cells = {n_cells}; leave one of them out")
    bad = ~np.isfinite(factors) | (factors < 0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise PosteriorError(
            f"{int(bad.sum())} of {bad.size} size factors are NaN, infinite or negative; "
            f"the first is {factors[first]} at cell {first}"
        )
    if group is None:
        return Cells(factors, np.zeros(factors.size, dtype=np.int64), names_array(names), design)
    numbers = np.asarray(group)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise PosteriorError(f"group must hold integers in [0, C), not {numbers.dtype}")
    return Cells(factors, np.ascontiguousarray(numbers, dtype=np.int64), names_array(names), design)


def number_groups(labels: NDArray[Any], group_names: Names | None) -> IndexArray:
    """(N,) numbers of the named groups; an unfitted group is an error that names it."""
    if group_names is None:
        raise PosteriorError("this posterior has no group names; give groups as integers")
    known = {str(name): c for c, name in enumerate(group_names)}
    unknown = sorted({str(label) for label in labels} - known.keys())
    if unknown:
        raise PosteriorError(
            f"group {unknown[0]!r} was not fitted ({len(unknown)} such); fitted are: {list_names(sorted(known))}"
        )
    return np.array([known[str(label)] for label in labels], dtype=np.int64)
