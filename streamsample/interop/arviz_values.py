"""The values of a parameter at some draws of ArviZ's layout: a variable's, a function's, or a number's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.parameters import list_names

if TYPE_CHECKING:
    import xarray

Variable = str | float | Callable[["xarray.Dataset"], "xarray.DataArray"]
"""A variable's name, a number, or a function of the draws."""


def value_of(draws: xarray.Dataset, dim: str, name: str, variable: Variable) -> xarray.DataArray:
    """Evaluate a parameter, lazily if it is a variable; what is the same for all draws is repeated.

    Parameters
    ----------
    draws
        Some of one chain.
    dim
        Their dimension.
    name
        Of the parameter, for errors.
    variable
        What gives it.

    Raises
    ------
    PosteriorError
        If there is no such variable, or a function returns something else than values of these draws.
    """
    found = _found(draws, name, variable)
    ndraws = int(draws.sizes[dim])
    if dim not in found.dims:
        return found.expand_dims({dim: ndraws})
    if found.sizes[dim] != ndraws:
        raise PosteriorError(
            f"{name}: its function returns {found.sizes[dim]} of {ndraws} along {dim!r}; keep them all"
        )
    return found


def of_features(values: xarray.DataArray, dim: str, features: IndexArray) -> xarray.DataArray:
    """Choose features before anything is read: HDF5 takes long lists of positions far slower than what they span."""
    low, high = (int(features.min()), int(features.max()) + 1) if features.size else (0, 1)
    if high - low > 4 * features.size:
        return values.isel({dim: features})
    part = values.isel({dim: slice(low, high)})
    run = np.array_equal(features, np.arange(low, high))
    return part if run else part.copy(data=part.values).isel({dim: features - low})


def _found(draws: xarray.Dataset, name: str, variable: Variable) -> xarray.DataArray:
    """Evaluate, of whatever dimensions."""
    import xarray

    there = list_names(sorted(map(str, draws.data_vars)))
    value: Any = variable
    if isinstance(variable, str):
        if variable not in draws:
            raise PosteriorError(f"{name}: the posterior has no variable {variable!r}; it has {there}")
        return draws[variable]
    if callable(variable):
        try:
            value = variable(draws)
        except (KeyError, AttributeError) as error:
            what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
            raise PosteriorError(f"{name}: its function failed ({what}); the posterior has {there}") from error
        if isinstance(value, xarray.DataArray):
            return value
    if not isinstance(value, int | float | np.number):
        way = "a function returns a DataArray or a number" if callable(variable) else "give a variable, or a number"
        raise PosteriorError(f"{name} is {_told(value)}; {way}")
    number = np.float64(value)
    with np.errstate(over="ignore"):
        short = np.float32(number)
    return xarray.DataArray(short if short == number else number)  # so that it makes no float32 draws wider


def _told(value: Any) -> str:
    """Say what was given, in a few words."""
    return f"of type {type(value).__name__}" + (f" and shape {value.shape}" if hasattr(value, "shape") else "")
