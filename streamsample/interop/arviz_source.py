"""Draws of any inference library in ArviZ's layout, read a minibatch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.interop.parametrisation import Form, form_of
from streamsample.parameters import Facts, Names, Parameters, list_names

if TYPE_CHECKING:
    import xarray

Variable = str | Callable[["xarray.Dataset"], "xarray.DataArray"]
"""A variable's name, or a function of the draws."""


@dataclass(frozen=True)
class ArvizSource:
    """Draws in a group ``posterior``; chains and draws make one axis of samples, chain after chain."""

    data: xarray.Dataset
    """The group, lazy."""
    sample_dims: tuple[str, ...]
    """Its dimensions that together are the samples."""
    parameters: Mapping[str, Variable]
    """The two of a parametrisation, under its names."""
    alpha: Variable | None = None
    """Factor of each group."""
    feature_names: Names | None = None
    """(T,) names, where the draws have none."""
    group_names: Names | None = None
    """(C,) likewise."""

    @cached_property
    def form(self) -> Form:
        """How the two parameters become mean and total count."""
        return form_of(self.parameters)

    @cached_property
    def _first(self) -> dict[str, xarray.DataArray]:
        """Each variable at the first draw: what tells dimensions, types and names."""
        draws = next(self._chains(np.zeros(1, dtype=np.int64)))
        wanted = {name: self.parameters[name] for name in self.form.parameters}
        if self.alpha is not None:
            wanted["alpha"] = self.alpha
        found = {name: _value(draws, name, variable).squeeze(self.sample_dims[-1]) for name, variable in wanted.items()}
        for name, array in found.items():
            most = 2 if name == "alpha" else 1
            if array.ndim > most:
                dims = "groups and features" if most == 2 else "features"
                raise PosteriorError(
                    f"{name} has the dimensions {list_names(map(str, array.dims))} beside those of the samples; "
                    f"at most {dims} are supported: write the mean as mu * alpha[group] * size_factor"
                )
            if array.dtype.kind not in "iuf":
                raise PosteriorError(f"{name} holds {array.dtype}, not numbers")
        return found

    @cached_property
    def _feature_dims(self) -> tuple[str, ...]:
        """What the variables call the dimension of features: libraries make up a name for each."""
        dims = {str(dim) for name, array in self._first.items() if name != "alpha" for dim in array.dims}
        alpha = self._first.get("alpha")
        if alpha is not None and alpha.ndim == 2 and not dims & set(map(str, alpha.dims)):
            dims.add(str(alpha.dims[-1]))
        return tuple(sorted(dims))

    def _group_dim(self) -> str | None:
        """What alpha calls the dimension of groups."""
        alpha = self._first.get("alpha")
        others = [] if alpha is None else [str(dim) for dim in alpha.dims if dim not in self._feature_dims]
        return others[0] if others else None

    def facts(self) -> Facts:
        """Tell sizes and names."""
        return self._facts

    @cached_property
    def _facts(self) -> Facts:
        sizes = {a.sizes[dim] for a in self._first.values() for dim in a.dims if dim in self._feature_dims} - {1}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {dict(array.sizes)}" for name, array in self._first.items())
            raise PosteriorError(f"the variables have different numbers of features: {shapes}")
        nfeatures, group = sizes.pop() if sizes else 1, self._group_dim()
        ngroups = 1 if group is None else self._first["alpha"].sizes[group]
        dtype = np.dtype(np.float64)
        if self.form.convert is None:
            types = [array.dtype if array.dtype == np.float32 else dtype for array in self._first.values()]
            dtype = np.result_type(*types)
        return Facts(
            nsamples=int(np.prod([self.data.sizes[dim] for dim in self.sample_dims])),
            nfeatures=nfeatures,
            ngroups=ngroups,
            bytes_per_sample=dtype.itemsize * nfeatures * (2 + ngroups),
            dtype=dtype,
            feature_names=self._labels(self._feature_dims, self.feature_names),
            group_names=self._labels(() if group is None else (group,), self.group_names),
        )

    def _labels(self, dims: tuple[str, ...], otherwise: Names | None) -> Names | None:
        """Names from the coordinates of a dimension; numbers that only count up are none."""
        for array in self._first.values():
            for dim in dims:
                if dim in array.coords:
                    labels = np.asarray(array.coords[dim].values)
                    if not (labels.dtype.kind in "iu" and np.array_equal(labels, np.arange(labels.size))):
                        return labels.astype(np.str_)
        return otherwise

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples and features as float64."""
        blocks = [self._block(draws, self._facts, features) for draws in self._chains(samples)]
        joined = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return Parameters(*joined)

    def _chains(self, samples: IndexArray) -> Iterator[xarray.Dataset]:
        """Yield the draws of the given samples, a run within one chain at a time."""
        ndraws = self.data.sizes[self.sample_dims[-1]]
        chains, draws = samples // ndraws, samples % ndraws
        for run in np.split(np.arange(samples.size), np.flatnonzero(np.diff(chains)) + 1):
            wanted, rising = draws[run], np.arange(draws[run[0]], draws[run[0]] + run.size)
            # A slice where it will do: lists of positions are far slower in files.
            place: Any = slice(int(rising[0]), int(rising[-1]) + 1) if np.array_equal(wanted, rising) else wanted
            outer = {dim: int(chains[run[0]]) for dim in self.sample_dims[:-1]}
            yield self.data.isel({**outer, self.sample_dims[-1]: place})

    def _block(
        self, draws: xarray.Dataset, facts: Facts, features: IndexArray | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Mean (s, T), total count (s, T) and alpha (s, C, T) of some draws of one chain."""
        nsamples, chosen = draws.sizes[self.sample_dims[-1]], slice(None) if features is None else features

        def array(name: str, variable: Variable, shape: tuple[int, ...]) -> NDArray[Any]:
            found = _value(draws, name, variable)
            order = [d for kind in ((self.sample_dims[-1],), (self._group_dim(),), self._feature_dims) for d in kind]
            values = found.transpose(*[dim for dim in order if dim in found.dims]).values.astype(np.float64)
            if not any(dim in self._feature_dims for dim in found.dims):
                values = values[..., None]  # the same for all features
            if len(shape) == 3 and values.ndim == 2:
                values = values[:, None]  # the same for all groups
            return np.ascontiguousarray(np.broadcast_to(values, shape)[..., chosen])

        flat, whole = (nsamples, facts.nfeatures), (nsamples, facts.ngroups, facts.nfeatures)
        first, second = (array(name, self.parameters[name], flat) for name in self.form.parameters)
        mu, phi = (first, second) if self.form.convert is None else self.form.convert(first, second)
        alpha = np.ones(whole)[..., chosen] if self.alpha is None else array("alpha", self.alpha, whole)
        return mu, phi, alpha


def _value(draws: xarray.Dataset, name: str, variable: Variable) -> xarray.DataArray:
    """Evaluate a variable on some draws."""
    if callable(variable):
        return variable(draws)
    if variable not in draws:
        there = list_names(sorted(map(str, draws.data_vars)))
        raise PosteriorError(f"{name}: the posterior has no variable {variable!r}; it has {there}")
    return draws[variable]
