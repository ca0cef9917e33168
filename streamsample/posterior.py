"""Parameter draws, and the cells they are applied to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.cells import Cells, Origin, make_cells, number_groups
from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray, Shape, minibatches
from streamsample.parameters import (
    ArraySource,
    Facts,
    FloatArray,
    Parameters,
    Source,
    check_values,
    floating_array,
    names_array,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from streamsample.interop.arviz_source import Variable


@dataclass(frozen=True, repr=False)
class Posterior:
    """Parameter draws ``mu[S,T]``, ``phi[S,T]``, ``alpha[S,C,T]`` and the cells they are applied to.

    It never holds observations. Make one with `from_arrays`, `open` or `TechnicalModel.fit_technical`.
    """

    source: Source
    cells: Cells
    origin: Origin = field(default_factory=Origin)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", self.source.facts())
        _check_sizes(self.facts, self.cells)

    def __repr__(self) -> str:
        """Tell the sizes, and the file that the draws are in."""
        nsamples, ncells, nfeatures = self.shape
        groups = f"{self.facts.ngroups} group{'s' * (self.facts.ngroups != 1)}"
        path = getattr(self.source, "path", None)
        file = "" if path is None else f" ({Path(path).name})"
        return f"<Posterior {nsamples:,} samples x {ncells:,} cells x {nfeatures:,} features, {groups}{file}>"

    @classmethod
    def from_arrays(
        cls,
        mu: ArrayLike,
        phi: ArrayLike,
        alpha: ArrayLike | None = None,
        *,
        size_factor: ArrayLike | None = None,
        group: ArrayLike | None = None,
        n_cells: int | None = None,
        cell_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        group_names: Sequence[str] | None = None,
        fitted: ArrayLike | None = None,
        origin: Origin | None = None,
    ) -> Posterior:
        """Make a posterior from arrays in memory.

        Parameters
        ----------
        mu, phi
            (S, T) means at size factor 1 in the reference group, and total counts (inf: Poisson).
        alpha
            (S, C, T) factor of each group; ones if left out.
        size_factor
            (N,) relative depth of each cell; ones if left out, then `n_cells` is needed.
        group
            (N,) integers in [0, C); zeros if left out.
        n_cells
            N, where there is no `size_factor`.
        cell_names, feature_names, group_names
            (N,), (T,) and (C,) names; features must differ.
        fitted
            (T,) False where a fit has left a feature out.
        origin
            How the cells were described, for `for_cells`.

        Raises
        ------
        PosteriorError
            On shapes that disagree, empty axes, NaN, negative or out-of-domain values.
        """
        draws = floating_array(mu, "mu", 2), floating_array(phi, "phi", 2)
        factors = None if alpha is None else floating_array(alpha, "alpha", 3)
        if draws[1].shape != draws[0].shape:
            raise PosteriorError(f"phi has shape {draws[1].shape} but mu has {draws[0].shape}; both are [S, T]")
        if factors is not None and (len(factors), factors.shape[2]) != draws[0].shape:
            raise PosteriorError(f"alpha has shape {factors.shape}, not [S, C, T] with mu's [S, T] = {draws[0].shape}")
        source = ArraySource(
            *draws,
            factors,
            feature_names=names_array(feature_names),
            group_names=names_array(group_names),
            fitted=None if fitted is None else np.asarray(fitted, dtype=bool),
        )
        posterior = cls(source, make_cells(size_factor, group, n_cells, cell_names), origin or Origin())
        posterior.check()
        return posterior

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Posterior:
        """Open a ``posterior.h5``; draws stay in the file and are read a minibatch at a time.

        Raises
        ------
        PosteriorError
            If the file is not a posterior, or its parts disagree.
        """
        from streamsample.posterior_file import open_posterior

        return open_posterior(Path(path))

    @classmethod
    def from_arviz(
        cls,
        source: Any,
        *,
        alpha: Variable | None = None,
        size_factor: ArrayLike | str | None = None,
        group: ArrayLike | str | None = None,
        n_cells: int | None = None,
        sample_dims: Sequence[str] = ("chain", "draw"),
        **parameters: Variable,
    ) -> Posterior:
        """Take the draws of any library that ArviZ knows; they stay where they are and are read a minibatch at a time.

        ``Posterior.from_arviz("fit.nc", mu="mu", phi="alpha", group="batch")``. Chains and draws become one axis of
        samples, chain after chain; names come from coordinates.

        Parameters
        ----------
        source
            DataTree, InferenceData, its Dataset ``posterior``, or the path of a netCDF file or Zarr folder.
        **parameters
            The two parameters of a negative binomial, under the names of one parametrisation: (mu, phi),
            (mean, total_count), (mean, concentration), (mu, theta), (mean or mu, dispersion), (total_count, probs),
            (total_count, logits) or (n, p). Each is a variable's name, or a function of the Dataset of some draws that
            returns a DataArray; with one dimension beside the draws, features, or none: the same for all.
        alpha
            Likewise, the factor of each group: dimensions group and feature, or one of them.
        size_factor, group
            (N,) values; or the name of a variable in ``constant_data``. Groups are numbers in [0, C) or names.
        n_cells
            N, where neither is given.
        sample_dims
            Dimensions that together are the samples: two, or one.

        Raises
        ------
        PosteriorError
            If a variable or group is not there, or dimensions or values do not fit.
        MissingExtra
            If a file is to be read and xarray is not installed.
        """
        from streamsample.interop.arviz_groups import read_arviz

        return read_arviz(source, parameters, alpha, size_factor, group, n_cells, sample_dims)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a ``posterior.h5``, complete or not at all.

        Raises
        ------
        OutputExists
            If the file is there and `overwrite` is not given.
        """
        from streamsample.posterior_file import save_posterior

        save_posterior(self, Path(path), overwrite=overwrite)

    @property
    def shape(self) -> Shape:
        """Sizes ``(S, N, T)`` of the counts that these parameters stand for."""
        return self.facts.nsamples, self.cells.size_factor.size, self.facts.nfeatures

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """(T,) which features the fit has seen."""
        if self.facts.fitted is None:
            return np.ones(self.facts.nfeatures, dtype=bool)
        return self.facts.fitted

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read, and check, the draws of some samples.

        Parameters
        ----------
        samples
            (s,) indices.
        features
            (t,) indices; all of them if left out.

        Raises
        ------
        PosteriorError
            If a value is outside the stream's domain; names how many and the first (s, t).
        """
        parameters = self.source.read(samples, features)
        check_values(parameters, samples, features, self.largest_size_factor())
        return parameters

    def check(self) -> None:
        """Read every draw once and raise `PosteriorError` on the first that is outside the domain."""
        for s0, s1 in minibatches(self.facts.nsamples, self.samples_per_read()):
            self.read(np.arange(s0, s1))

    def samples_per_read(self, nbytes: int = 32 * 2**20) -> int:
        """Samples of which float64 copies stay near `nbytes`."""
        return max(1, nbytes // (8 * self.facts.nfeatures * (2 + self.facts.ngroups)))

    def largest_size_factor(self) -> FloatArray:
        """(C,) largest size factor among the cells of each group; 0 where a group has none."""
        largest = np.zeros(self.facts.ngroups)
        np.maximum.at(largest, self.cells.group, self.cells.size_factor)
        return largest

    def digest(self) -> str:
        """SHA-256 of everything a count depends on, and the names, in a form that no file format changes."""
        sha = hashlib.sha256(b"streamsample-posterior-1")
        sha.update(np.array([*self.shape, self.facts.ngroups], dtype="<u8").tobytes())
        sha.update(np.ascontiguousarray(self.cells.size_factor, dtype="<f8").data)
        sha.update(np.ascontiguousarray(self.cells.group, dtype="<i8").data)
        for names in (self.cells.names, self.facts.feature_names, self.facts.group_names):
            encoded = [] if names is None else [str(name).encode() for name in names]
            sha.update(np.array([len(encoded), *map(len, encoded)], dtype="<u8").tobytes())
            sha.update(b"".join(encoded))
        for s0, s1 in minibatches(self.facts.nsamples, self.samples_per_read()):
            block = self.source.read(np.arange(s0, s1))
            for mu, phi, alpha in zip(block.mu, block.phi, block.alpha, strict=True):
                for array in (mu, phi, alpha):
                    sha.update(np.ascontiguousarray(array, dtype="<f8").data)
        return sha.hexdigest()

    def for_cells(
        self,
        cells: str | os.PathLike[str] | AnnData | ArrayLike,
        group: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        *,
        group_key: str | Sequence[str] | None = None,
        sum_factor_key: str | None = None,
        layer: str | None = None,
    ) -> Posterior:
        """Apply the same parameters to other cells, which are numbered from 0.

        Parameters
        ----------
        cells
            Size factors (N,) on the fit's scale; or an AnnData object or the path of an ``.h5ad`` file,
            whose totals are put on the fit's scale (`Origin.size_factor_scale`) and joined by feature name.
        group
            (N,) integers in [0, C), or names of groups. Not with an AnnData, which has them in ``obs``.
        names
            (N,) names of the cells.
        group_key, sum_factor_key
            Columns of the AnnData's ``obs``, where they differ from the fit's.
        layer
            Layer of the AnnData that holds the counts; if left out, the fit's, or ``X`` if that one is not there and
            ``X`` holds counts.

        Raises
        ------
        DataError
            If a column, a feature or the layer is not there, or it holds no counts.
        PosteriorError
            If a group was not fitted (it is named), or sizes disagree.
        """
        if isinstance(cells, str | os.PathLike) or hasattr(cells, "obs_names"):
            # The one import that points up the layers: the public face has paths here, their reader is an adapter.
            from streamsample.interop.cells import read_cells

            return replace(self, cells=read_cells(self, cells, group_key, sum_factor_key, layer))
        return replace(self, cells=make_cells(cells, self._group_numbers(group), None, names))

    def _group_numbers(self, group: ArrayLike | None) -> ArrayLike | None:
        """Translate names of groups into their numbers; pandas gives them as objects."""
        labels = np.asarray(group)
        if labels.ndim == 1 and labels.size and all(isinstance(label, str) for label in labels.flat):
            return number_groups(labels, self.facts.group_names)
        return group


def _check_sizes(facts: Facts, cells: Cells) -> None:
    """Check what can be checked without reading any draw."""
    ncells = cells.size_factor.size
    sizes = {"samples": facts.nsamples, "cells": ncells, "features": facts.nfeatures, "groups": facts.ngroups}
    for axis, size in sizes.items():
        if size == 0:
            raise PosteriorError(f"the posterior has no {axis}: its sizes are {sizes}")
    if cells.group.shape != (ncells,):
        raise PosteriorError(f"group has shape {cells.group.shape} but there are {ncells} size factors")
    wrong = (cells.group < 0) | (cells.group >= facts.ngroups)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise PosteriorError(
            f"group {int(cells.group[first])} of cell {first} is not in [0, {facts.ngroups}) ({int(wrong.sum())} such)"
        )
    named = (
        ("cell_names", cells.names, ncells),
        ("feature_names", facts.feature_names, facts.nfeatures),
        ("group_names", facts.group_names, facts.ngroups),
        ("fitted", facts.fitted, facts.nfeatures),
    )
    for what, values, size in named:
        if values is not None and values.shape != (size,):
            raise PosteriorError(f"{what} has shape {values.shape}, it needs ({size},)")
    for axis, names in (("feature", facts.feature_names), ("group", facts.group_names)):
        values, counts = np.unique([] if names is None else names, return_counts=True)
        if (counts > 1).any():
            raise PosteriorError(
                f"{int((counts > 1).sum())} {axis} names occur twice, {str(values[counts > 1][0])!r} first; "
                "make them unique (AnnData: var_names_make_unique())"
            )
