"""Parameter draws, and the cells they are applied to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.agreement import check_sizes
from streamsample.array_source import ArraySource
from streamsample.cells import Cells, Origin, make_cells, number_groups
from streamsample.designs import Design
from streamsample.digest import digest
from streamsample.domain import check_values
from streamsample.geometry import IndexArray, Shape, minibatches
from streamsample.parameters import Facts, FloatArray, Names, Parameters, Source

if TYPE_CHECKING:
    from anndata import AnnData

    from streamsample.interop.arviz_values import Variable


@dataclass(frozen=True, repr=False)
class Posterior:
    """Parameter draws ``mu[S,T]``, ``phi[S,T]``, ``alpha[S,C,T]`` and the cells they are applied to.

    Where the model has them also ``zero_inflation[S,T]``, and coefficients ``beta[S,K,T]`` of a design ``[N,K]``.
    It never holds observations. Make one with `from_arrays`, `open` or `TechnicalModel.fit_technical`.
    """

    source: Source
    cells: Cells
    origin: Origin = field(default_factory=Origin)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", self.source.facts())
        check_sizes(self.facts, self.cells)

    def __repr__(self) -> str:
        """Tell the sizes, and the file that the draws are in."""
        nsamples, ncells, nfeatures = self.shape
        groups = f"{self.facts.ngroups} group{'s' * (self.facts.ngroups != 1)}"
        if self.facts.ncovariates:
            groups += f", {self.facts.ncovariates} covariate{'s' * (self.facts.ncovariates != 1)}"
        if self.facts.zero_inflated:
            groups += ", zero-inflated"
        path = getattr(self.source, "path", None)
        file = "" if path is None else f" ({Path(path).name})"
        return f"<Posterior {nsamples:,} samples x {ncells:,} cells x {nfeatures:,} features, {groups}{file}>"

    @classmethod
    def from_arrays(
        cls,
        mu: ArrayLike | None = None,
        phi: ArrayLike | None = None,
        alpha: ArrayLike | None = None,
        *,
        zero_inflation: ArrayLike | None = None,
        beta: ArrayLike | None = None,
        design: Design | ArrayLike | None = None,
        size_factor: ArrayLike | None = None,
        group: ArrayLike | None = None,
        n_cells: int | None = None,
        cell_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        group_names: Sequence[str] | None = None,
        covariate_names: Sequence[str] | Names | None = None,
        fitted: ArrayLike | None = None,
        origin: Origin | None = None,
    ) -> Posterior:
        """Make a posterior from arrays in memory.

        Parameters
        ----------
        mu, phi
            (S, T) means at size factor 1 in the reference group, and total counts (inf: Poisson). With a `beta`, mu may
            be left out: ones.
        alpha
            (S, C, T) factor of each group; ones if left out.
        zero_inflation
            (S, T) chance, in [0, 1], that a count is 0 whatever its mean; none if left out.
        beta
            (S, K, T) coefficients: the mean is multiplied by ``exp(design @ beta)``.
        design
            (N, K) covariates of each cell: an array, a sparse matrix of SciPy, or a DataFrame, whose columns are
            joined to `covariate_names` by name. Above 64 columns it is kept sparse.
        size_factor
            (N,) relative depth of each cell; ones if left out, then `n_cells` or a design is needed.
        group
            (N,) integers in [0, C); zeros if left out.
        n_cells
            N, where there is no `size_factor`.
        cell_names, feature_names, group_names, covariate_names
            (N,), (T,), (C,) and (K,) names; those of an axis must differ, but for cells.
        fitted
            (T,) False where a fit has left a feature out.
        origin
            How the cells were described, for `for_cells`.

        Raises
        ------
        PosteriorError
            On shapes that disagree, empty axes, NaN, negative or out-of-domain values.
        """
        covariates = None if design is None else Design.of(design)
        if covariate_names is None and covariates is not None:
            covariate_names = covariates.names
        source = ArraySource.of(
            mu,
            phi,
            alpha,
            zero_inflation,
            beta,
            feature_names=feature_names,
            group_names=group_names,
            covariate_names=covariate_names,
            fitted=fitted,
        )
        if covariates is not None and source.covariate_names is not None:
            covariates = covariates.named(source.covariate_names)
        cells = make_cells(size_factor, group, n_cells, cell_names, covariates)
        posterior = cls(source, cells, origin or Origin())
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
        zero_inflation: Variable | None = None,
        beta: Variable | None = None,
        size_factor: ArrayLike | str | None = None,
        group: ArrayLike | str | None = None,
        design: Design | ArrayLike | str | None = None,
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
            (total_count, logits) or (n, p); or rate alone, the mean of Poisson counts. Each is a variable's name, a
            number, or a function of the Dataset of some draws that returns a DataArray or a number; with one dimension
            beside the draws, features, or none: the same for all. What lacks the draws is the same for all of them. The
            mean may be left out where `beta` gives all of it. Zero inflation as its library tells it: gate,
            gate_logits, psi (the chance of not being inflated), zi_probs or zi_logits.
        alpha
            Likewise, the factor of each group: dimensions group and feature, or one of them.
        zero_inflation
            Likewise, the chance that a count is 0 whatever its mean: dimension feature, or none.
        beta
            Likewise, the coefficients of the design: dimensions covariate and feature, or one of them.
        size_factor, group
            (N,) values; or the name of a variable in ``constant_data``. Groups are numbers in [0, C) or names.
        design
            (N, K) covariates, needed with `beta`: an array, a sparse matrix or a DataFrame; or the name of a variable
            in ``constant_data`` with dimensions cell and covariate, which are joined by name where both have names.
        n_cells
            N, where none of them is given.
        sample_dims
            Dimensions that together are the samples: two, or one.

        Raises
        ------
        PosteriorError
            If a variable or group is not there, a function returns something else, or dimensions or values do not fit.
        MissingExtra
            If a file is to be read and xarray is not installed.
        """
        from streamsample.interop.arviz_groups import read_arviz

        others = {"alpha": alpha, "zero_inflation": zero_inflation, "beta": beta}
        variables = parameters | {name: variable for name, variable in others.items() if variable is not None}
        return read_arviz(
            source, variables, sample_dims, size_factor=size_factor, group=group, design=design, n_cells=n_cells
        )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a ``posterior.h5``, complete or not at all.

        Raises
        ------
        OutputExists
            If the file is there and `overwrite` is not given.
        """
        from streamsample.posterior_saving import save_posterior

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
        return max(1, nbytes // (8 * self.facts.nfeatures * self.facts.nblocks))

    def largest_size_factor(self) -> FloatArray:
        """(C,) largest size factor among the cells of each group; 0 where a group has none."""
        return self._largest_size_factor.copy()

    @cached_property
    def _largest_size_factor(self) -> FloatArray:
        largest = np.zeros(self.facts.ngroups)
        np.maximum.at(largest, self.cells.group, self.cells.size_factor)
        return largest

    def digest(self) -> str:
        """SHA-256 of everything a count depends on, and the names, in a form that no file format changes."""
        return digest(self)

    def for_cells(
        self,
        cells: str | os.PathLike[str] | AnnData | ArrayLike,
        group: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        *,
        design: Design | ArrayLike | str | Sequence[str] | None = None,
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
        design
            (N, K) covariates of these cells, needed where the posterior has a `beta`; a DataFrame's columns are joined
            by name. With an AnnData also the name of a matrix in ``obsm``, or names of columns of ``obs``; if left out,
            the columns of ``obs`` that have the covariates' names.
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

            return replace(self, cells=read_cells(self, cells, group_key, sum_factor_key, layer, design))
        covariates = None if design is None else self.as_design(design)
        return replace(self, cells=make_cells(cells, self._group_numbers(group), None, names, covariates))

    def as_design(self, values: Any) -> Design:
        """Take a design of cells for these draws, its columns in the order of `beta`'s covariates.

        Raises
        ------
        PosteriorError
            If it is no matrix of finite numbers, or a named column is not there.
        """
        names, found = self.facts.covariate_names, Design.of(values)
        return found if names is None else found.named(names)

    def _group_numbers(self, group: ArrayLike | None) -> ArrayLike | None:
        """Translate names of groups into their numbers; pandas gives them as objects."""
        labels = np.asarray(group)
        if labels.ndim == 1 and labels.size and all(isinstance(label, str) for label in labels.flat):
            return number_groups(labels, self.facts.group_names)
        return group
