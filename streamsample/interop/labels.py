"""What the annotation of cells says: which of them, their groups, their size factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import DataError
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray, Names

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MAX_MEASURED = 50
"""Different fractions in a column from which on it is a measurement, not a label."""

SEPARATOR = "|"
"""Between the parts of a group's name that comes from several columns: ``rep_1|lane_2``."""


def columns_there(obs: DataFrame) -> str:
    """List the columns of ``obs`` for an error."""
    return ", ".join(str(name) for name in obs.columns) or "none"


def column(obs: DataFrame, key: str, label: str) -> Series:
    """One column of ``obs``.

    Raises
    ------
    DataError
        If it is not there; lists those that are.
    """
    if key not in obs.columns:
        raise DataError(f"{label}: obs has no column {key!r}; there are: {columns_there(obs)}")
    return obs[key]


def keys(group_key: str | Sequence[str]) -> tuple[str, ...]:
    """Write one or several columns as a tuple."""
    return (group_key,) if isinstance(group_key, str) else tuple(group_key)


def group_labels(obs: DataFrame, group_key: Sequence[str], label: str) -> Names:
    """(N,) name of each cell's group: the value of the column, several joined by ``|``.

    Raises
    ------
    DataError
        If a column is not there, a cell has no value in it, or it holds a measurement.
    """
    if not group_key:
        raise DataError(
            f"give group_key= a column of obs that names the technical groups, one of: {columns_there(obs)}"
        )
    joined: Names | None = None
    for key in group_key:
        values = column(obs, key, label)
        unknown = np.asarray(values.isna())
        if unknown.any():
            first = str(obs.index[int(np.flatnonzero(unknown)[0])])
            raise DataError(
                f"{label}: {int(unknown.sum())} of {unknown.size} cells have no value in column {key!r}, "
                f"{first!r} first; leave them out: where='`{key}`.notna()'"
            )
        _refuse_measurement(values, key, label)
        names = np.asarray(values.astype(str), dtype=np.str_)
        joined = names if joined is None else np.strings.add(np.strings.add(joined, SEPARATOR), names)
    assert joined is not None  # for the type checker: there is at least one key
    return joined


def _refuse_measurement(values: Series, key: str, label: str) -> None:
    """Refuse a column of many different fractions, which would make nearly every cell a group of its own."""
    if values.dtype.kind != "f":
        return
    different = np.unique(np.asarray(values, dtype=np.float64))
    if different.size > MAX_MEASURED and (different != np.floor(different)).any():
        raise DataError(
            f"{label}: column {key!r} holds {values.dtype} numbers, {different.size} different ones in "
            f"{len(values)} cells, such as {different[0]:g}: a measurement and not a group; give group_key= a column "
            "that names technical groups (if these are names, write them as text)"
        )


def number_labels(labels: NDArray[Any]) -> tuple[IndexArray, Names]:
    """(N,) numbers of labels, and the (C,) names that they number: integers in their order, text in its own.

    Raises
    ------
    DataError
        If a label is missing.
    """
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise DataError(f"{int(np.isnan(labels).sum())} of {labels.size} cells have NaN as group; leave them out")
    if labels.dtype.kind not in "iub":
        labels = labels.astype(np.str_)
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers.astype(np.int64), names.astype(np.str_)


def choose_cells(obs: DataFrame, where: str | None, label: str) -> NDArray[np.bool_]:
    """(N,) mask of the cells for which a pandas expression on the columns of ``obs`` holds.

    Raises
    ------
    DataError
        If the expression can't be evaluated, or no cell is left.
    """
    if where is None:
        chosen = np.ones(len(obs), dtype=bool)
    else:
        try:
            # Nothing but the columns is in scope.
            answer = obs.eval(where, engine="python", local_dict={}, global_dict={})
        except Exception as error:  # whatever pandas makes of a text that a user has typed
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"where={where!r}: {reason}; the columns of obs are: {columns_there(obs)}") from None
        chosen = np.asarray(answer)
        if chosen.dtype != bool or chosen.shape != (len(obs),):
            raise DataError(
                f"where={where!r} is not a condition on cells; write column == value; "
                f"the columns of obs are: {columns_there(obs)}"
            )
    if not chosen.any():
        raise DataError(f"{label}: no cell is left of {len(obs)}" + (f" with where={where!r}" if where else ""))
    return chosen


def sum_factors(values: Series, key: str, label: str) -> FloatArray:
    """(N,) size factors of a column.

    Raises
    ------
    DataError
        If one is not a positive, finite number.
    """
    try:
        factors = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{label}: column {key!r} holds {values.dtype}, not size factors") from None
    check_sum_factors(factors, f"{label}: column {key!r}", np.asarray(values.index.astype(str), dtype=np.str_))
    return factors


def check_sum_factors(factors: FloatArray, what: str, cell_names: Names | None) -> None:
    """Refuse size factors that are zero, negative, NaN or infinite; name how many and the first."""
    wrong = ~(np.isfinite(factors) & (factors > 0))
    if wrong.any():
        n = int(np.flatnonzero(wrong)[0])
        cell = f"cell {n}" if cell_names is None else f"cell {str(cell_names[n])!r}"
        raise DataError(
            f"{what}: {int(wrong.sum())} of {wrong.size} size factors are zero, negative, NaN or infinite, "
            f"the first is {factors[n]:g} at {cell}; leave these cells out"
        )
