"""Draws of any inference library in ArviZ's layout, read a minibatch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.interop.arviz_values import Variable, of_features, value_of
from streamsample.interop.parametrisation import Form, Inflation, form_of, inflation_of
from streamsample.parameters import Facts, FloatArray, Names, Parameters, list_names

if TYPE_CHECKING:
    import xarray

OUTER = {"alpha": "groups", "beta": "covariates"}
"""Variables that may have one more dimension beside features, and what that one is."""


@dataclass(frozen=True)
class ArvizSource:
    """Draws in a group ``posterior``; chains and draws make one axis of samples, chain after chain."""

    data: xarray.Dataset
    """The group, lazy."""
    sample_dims: tuple[str, ...]
    """Its dimensions that together are the samples."""
    variables: Mapping[str, Variable]
    """Under the names of a parametrisation, and of a way to tell zero inflation; ``alpha`` and ``beta``."""
    feature_names: Names | None = None
    """(T,) names, where the draws have none."""
    group_names: Names | None = None
    """(C,) likewise."""
    covariate_names: Names | None = None
    """(K,) likewise."""

    @cached_property
    def inflation(self) -> Inflation | None:
        """How zero inflation is told."""
        return inflation_of(self.variables)

    @cached_property
    def form(self) -> Form:
        """How the two parameters become mean and total count."""
        others = {*OUTER, *([] if self.inflation is None else [self.inflation.parameter])}
        pair = [name for name in self.variables if name not in others]
        return form_of(pair, needs_mean="beta" not in self.variables)

    @cached_property
    def _first(self) -> dict[str, xarray.DataArray]:
        """Each variable at the first draw: what tells dimensions, types and names."""
        draws, dim = next(self._chains(np.zeros(1, dtype=np.int64))), self.sample_dims[-1]
        found = {name: value_of(draws, dim, name, variable)[{dim: 0}] for name, variable in self.variables.items()}
        for name, array in found.items():
            if array.ndim > 1 + (name in OUTER):
                dims = f"{OUTER[name]} and features" if name in OUTER else "features"
                form = "write the mean as mu * alpha[group] * exp(design @ beta) * size_factor"
                if self.inflation is not None and name == self.inflation.parameter:
                    form = "zero inflation may differ between features, not between cells"
                raise PosteriorError(
                    f"{name} has the dimensions {list_names(map(str, array.dims))} beside those of the samples; "
                    f"at most {dims} are supported: {form}"
                )
            if array.dtype.kind not in "iuf":
                raise PosteriorError(f"{name} holds {array.dtype}, not numbers")
        return found

    @cached_property
    def feature_dims(self) -> tuple[str, ...]:
        """What the variables call the dimension of features: libraries make up a name for each."""
        dims = {str(dim) for name, array in self._first.items() if name not in OUTER for dim in array.dims}
        for name in OUTER:
            array = self._first.get(name)
            if array is not None and array.ndim == 2 and not dims & set(map(str, array.dims)):
                dims.add(str(array.dims[-1]))
        return tuple(sorted(dims))

    def outer_dim(self, name: str) -> str | None:
        """What ``alpha`` calls the dimension of groups, ``beta`` that of covariates; None of all else."""
        array = self._first.get(name) if name in OUTER else None
        others = [] if array is None else [str(dim) for dim in array.dims if dim not in self.feature_dims]
        return others[0] if others else None

    def _outer_size(self, name: str) -> int:
        """C of alpha, K of beta."""
        dim = self.outer_dim(name)
        return 1 if dim is None else int(self._first[name].sizes[dim])

    def facts(self) -> Facts:
        """Tell sizes and names."""
        return self._facts

    @cached_property
    def _facts(self) -> Facts:
        converted = (self.form.convert, None if self.inflation is None else self.inflation.convert)
        sizes = {a.sizes[dim] for a in self._first.values() for dim in a.dims if dim in self.feature_dims} - {1}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {dict(array.sizes)}" for name, array in self._first.items())
            raise PosteriorError(f"the variables have different numbers of features: {shapes}")
        nfeatures, ngroups = sizes.pop() if sizes else 1, self._outer_size("alpha")
        ncovariates = self._outer_size("beta") if "beta" in self.variables else 0
        dtype = np.dtype(np.float64)
        if converted == (None, None):
            types = [array.dtype if array.dtype == np.float32 else dtype for array in self._first.values()]
            dtype = np.result_type(*types)
        zero_inflated = self.inflation is not None
        return Facts(
            nsamples=int(np.prod([self.data.sizes[dim] for dim in self.sample_dims])),
            nfeatures=nfeatures,
            ngroups=ngroups,
            bytes_per_sample=dtype.itemsize * nfeatures * (2 + ngroups + ncovariates + zero_inflated),
            dtype=dtype,
            feature_names=self._labels(self.feature_dims, self.feature_names),
            group_names=self._labels((self.outer_dim("alpha"),), self.group_names),
            ncovariates=ncovariates,
            covariate_names=self._labels((self.outer_dim("beta"),), self.covariate_names),
            zero_inflated=zero_inflated,
        )

    def _labels(self, dims: tuple[str | None, ...], otherwise: Names | None) -> Names | None:
        """Names from the coordinates of a dimension; numbers that only count up are none."""
        for array in self._first.values():
            for dim in dims:
                if dim in array.coords:
                    labels = np.asarray(array.coords[dim].values)
                    if not (labels.dtype.kind in "iu" and np.array_equal(labels, np.arange(labels.size))):
                        return labels.astype(np.str_)
        return otherwise

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples and features as float64; beside them only one chain's part is held."""
        found: dict[str, FloatArray] = {}
        done = 0
        for draws in self._chains(samples):
            block = self._block(draws, features)
            size = len(block["mu"])
            if size == samples.size:
                return Parameters(**block)
            if not found:
                found = {name: np.empty((samples.size, *array.shape[1:])) for name, array in block.items()}
            for name, array in block.items():
                found[name][done : done + size] = array
            done += size
        return Parameters(**found)

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

    def _block(self, draws: xarray.Dataset, features: IndexArray | None) -> dict[str, FloatArray]:
        """Some draws of one chain, under the names of `Parameters`."""
        given = {name: self._array(draws, name, features) for name in self.variables}
        mu, phi = self.form.mean_and_total(given)
        found = {"mu": mu, "phi": phi, "alpha": given.get("alpha", np.ones_like(mu)[:, None])}
        if "beta" in given:
            found["beta"] = given["beta"]
        if self.inflation is not None:
            told, convert = given[self.inflation.parameter], self.inflation.convert
            found["zero_inflation"] = told if convert is None else convert(told)
        return found

    def _array(self, draws: xarray.Dataset, name: str, features: IndexArray | None) -> FloatArray:
        """A variable of some draws, (s, T), of alpha (s, C, T) and of beta (s, K, T): repeated where it is the same."""
        dim, outer, nfeatures = self.sample_dims[-1], self.outer_dim(name), self._facts.nfeatures
        found = value_of(draws, dim, name, self.variables[name])
        along = next((str(d) for d in found.dims if d in self.feature_dims), None)
        if features is not None:
            nfeatures = features.size
            if along is not None and found.sizes[along] > 1:
                found = of_features(found, along, features)
        order = [dim, outer, *self.feature_dims]
        values = found.transpose(*[d for d in order if d in found.dims]).values.astype(np.float64)
        if along is None:
            values = values[..., None]
        if name in OUTER and outer is None:
            values = values[:, None]
        return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:-1], nfeatures)))
