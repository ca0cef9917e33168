"""From anything in ArviZ's layout to a posterior: DataTree, InferenceData, netCDF, Zarr."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.cells import Cells, make_cells, number_groups
from streamsample.designs import Design
from streamsample.errors import PosteriorError
from streamsample.interop.arviz_source import ArvizSource
from streamsample.interop.arviz_values import Variable
from streamsample.interop.extras import need
from streamsample.interop.foreign_cells import describe_cells
from streamsample.interop.labels import number_labels
from streamsample.parameters import Facts, Names, list_names
from streamsample.posterior import Posterior

if TYPE_CHECKING:
    import xarray
    from anndata import AnnData


def read_arviz(
    source: Any,
    variables: Mapping[str, Variable],
    sample_dims: Sequence[str],
    *,
    size_factor: Any = None,
    group: Any = None,
    design: Any = None,
    n_cells: int | None = None,
) -> Posterior:
    """Make a posterior of draws in ArviZ's layout, of cells that arrays or ``constant_data`` describe.

    See `Posterior.from_arviz`; `variables` are all of the draws that it takes.
    """
    groups = _Groups(source)
    draws = _draws(groups, variables, sample_dims)
    covariates = _design(groups, draws, design)
    if covariates is not None and covariates.names is not None:
        draws = replace(draws, covariate_names=covariates.names)
    facts = draws.facts()
    if covariates is not None and facts.covariate_names is not None:
        covariates = covariates.named(facts.covariate_names)
    return _checked(Posterior(draws, _cells(groups, facts, size_factor, group, n_cells, covariates)))


def read_arviz_for(
    source: Any,
    variables: Mapping[str, Variable],
    sample_dims: Sequence[str],
    cells: str | os.PathLike[str] | AnnData,
    *,
    group_key: str | Sequence[str] | None = None,
    sum_factor_key: str | None = None,
    layer: str | None = None,
    design: str | Sequence[str] | None = None,
) -> Posterior:
    """Make a posterior of draws in ArviZ's layout, of the cells of an AnnData; see `describe_cells`."""
    draws = _draws(_Groups(source), variables, sample_dims)
    found = describe_cells(
        cells, draws.facts(), group_key=group_key, sum_factor_key=sum_factor_key, layer=layer, design=design
    )
    covariates = found.cells.design
    named = replace(
        draws,
        feature_names=found.feature_names,
        group_names=found.group_names,
        covariate_names=None if covariates is None else covariates.names,
    )
    return _checked(Posterior(named, found.cells, found.origin))


def _draws(groups: _Groups, variables: Mapping[str, Variable], sample_dims: Sequence[str]) -> ArvizSource:
    """The draws, without their cells."""
    data = groups.get("posterior")
    if data is None:
        raise PosteriorError(f"{groups.label} has no group 'posterior'")
    missing = [dim for dim in sample_dims if dim not in data.dims]
    if missing or not 1 <= len(sample_dims) <= 2:
        raise PosteriorError(
            f"the posterior has no sample dimensions {', '.join(sample_dims)}, it has "
            f"{list_names(map(str, data.dims))}; give one or two of these as sample_dims="
        )
    return ArvizSource(data, tuple(sample_dims), variables)


def _checked(posterior: Posterior) -> Posterior:
    """Read one draw: a wrong parametrisation mostly shows in any."""
    posterior.read(np.zeros(1, dtype=np.int64))
    return posterior


class _Groups:
    """The groups of whatever was given."""

    def __init__(self, source: Any) -> None:
        self._source = Path(source) if isinstance(source, str | os.PathLike) else source
        self.label = str(source) if isinstance(source, str | os.PathLike) else f"the {type(source).__name__}"
        if isinstance(self._source, Path) and not self._source.exists():
            raise PosteriorError(f"{source}: there is no such file")

    def get(self, name: str) -> xarray.Dataset | None:
        """Open a group, lazily; None where it is not there."""
        if isinstance(self._source, Path):
            return self._of_file(self._source, name)
        if not hasattr(self._source, "children") and hasattr(self._source, "data_vars"):  # the group itself
            return self._source if name == "posterior" else None
        found: Any = getattr(self._source, name, None)  # of a DataTree and of ArviZ's older InferenceData
        dataset: xarray.Dataset | None = found.to_dataset() if hasattr(found, "children") else found
        return dataset

    def _of_file(self, path: Path, name: str) -> xarray.Dataset | None:
        """Open a group of a netCDF file or a Zarr folder."""
        xr = need("xarray", "a posterior of ArviZ", "xarray")
        try:
            if path.is_dir():
                found: xarray.Dataset = xr.open_zarr(path, group=name, consolidated=False, chunks=None)
            else:
                found = xr.open_dataset(path, group=name, engine="h5netcdf", cache=False)
        except (KeyError, FileNotFoundError):
            return None
        except (OSError, ValueError) as error:
            if "group" in str(error).lower():
                return None
            raise PosteriorError(f"{path} can't be read as netCDF or Zarr ({error})") from error
        return found


def _cells(
    groups: _Groups, facts: Facts, size_factor: Any, group: Any, n_cells: int | None, design: Design | None
) -> Cells:
    """Describe the cells, by arrays or by variables of ``constant_data``."""
    factors, names = _constant(groups, "size_factor", size_factor)
    labels, others = _constant(groups, "group", group)
    if labels is not None and labels.dtype.kind not in "iu":
        labels = _numbers(labels, facts)
    if factors is None and labels is not None and n_cells is None:
        n_cells = labels.size
    if factors is None and n_cells is None and design is None:
        raise PosteriorError("the draws do not say how many cells they are for; give size_factor=, group= or n_cells=")
    return make_cells(factors, labels, n_cells, names if names is not None else others, design)


def _design(groups: _Groups, draws: ArvizSource, given: Any) -> Design | None:
    """Covariates that are given as such or by a variable's name; coordinates of the covariates are their names."""
    if given is None:
        return None
    if not isinstance(given, str):
        return Design.of(given)
    values, inner = _variable(groups, "design", given), draws.outer_dim("beta")
    if values.ndim == 2 and inner == values.dims[0]:  # covariate x cell
        values = values.transpose()
    found = Design.of(values.values)
    names = _labels(values, -1)
    return found if names is None else replace(found, names=names)


def _numbers(labels: Any, facts: Facts) -> Any:
    """Number groups that are given by name."""
    if facts.group_names is not None:
        return number_groups(labels, facts.group_names)
    numbers, names = number_labels(labels)
    if names.size != facts.ngroups:
        raise PosteriorError(f"group names {names.size} groups ({list_names(names)}), the draws have {facts.ngroups}")
    return numbers


def _constant(groups: _Groups, what: str, given: Any) -> tuple[Any, Names | None]:
    """(N,) values that are given as such or by a variable's name, and the cells' names where it has any."""
    if not isinstance(given, str):
        return (None if given is None else np.asarray(given)), None
    values = _variable(groups, what, given)
    return values.values, _labels(values, 0) if values.ndim == 1 else None


def _variable(groups: _Groups, what: str, name: str) -> xarray.DataArray:
    """A variable of ``constant_data``."""
    data = groups.get("constant_data")
    if data is None or name not in data:
        there = "no such group" if data is None else list_names(sorted(map(str, data.data_vars)))
        raise PosteriorError(f"{what}: constant_data of {groups.label} has no variable {name!r}; there is: {there}")
    return data[name]


def _labels(values: xarray.DataArray, axis: int) -> Names | None:
    """Names from the coordinates of an axis; numbers are none."""
    dim = values.dims[axis]
    labels = values.coords[dim].values if dim in values.coords else None
    return None if labels is None or labels.dtype.kind in "iu" else labels.astype(np.str_)
