"""Parameter draws in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.parameters import Facts, FloatArray, Names, Parameters, floating_array, names_array


@dataclass(frozen=True)
class ArraySource:
    """Draws held in memory, in whatever floating type they came."""

    mu: NDArray[Any] | None
    """(S, T), or None for ones."""
    phi: NDArray[Any]
    """(S, T)."""
    alpha: NDArray[Any] | None = None
    """(S, C, T), or None for ones."""
    feature_names: Names | None = None
    group_names: Names | None = None
    fitted: NDArray[np.bool_] | None = None
    zero_inflation: NDArray[Any] | None = None
    """(S, T), or None."""
    beta: NDArray[Any] | None = None
    """(S, K, T), or None."""
    covariate_names: Names | None = None

    @classmethod
    def of(
        cls,
        mu: ArrayLike | None,
        phi: ArrayLike | None,
        alpha: ArrayLike | None,
        zero_inflation: ArrayLike | None,
        beta: ArrayLike | None,
        *,
        feature_names: Sequence[str] | None = None,
        group_names: Sequence[str] | None = None,
        covariate_names: Sequence[str] | Names | None = None,
        fitted: ArrayLike | None = None,
    ) -> ArraySource:
        """Take whatever NumPy takes as an array; shapes that disagree are refused."""
        if phi is None or (mu is None and beta is None):
            raise PosteriorError(
                "phi is needed, and mu or beta; without mu the mean is exp(design x beta) x size_factor"
            )
        total = floating_array(phi, "phi", 2)
        mean, inflation = _optional("mu", mu, 2), _optional("zero_inflation", zero_inflation, 2)
        factors, slopes = _optional("alpha", alpha, 3), _optional("beta", beta, 3)
        if mean is not None and total.shape != mean.shape:
            raise PosteriorError(f"phi has shape {total.shape} but mu has {mean.shape}; both are [S, T]")
        shape = f"{'phi' if mean is None else 'mu'}'s [S, T] = {total.shape}"
        if inflation is not None and inflation.shape != total.shape:
            raise PosteriorError(f"zero_inflation has shape {inflation.shape}, not {shape}")
        for name, axes, array in (("alpha", "[S, C, T]", factors), ("beta", "[S, K, T]", slopes)):
            if array is not None and (len(array), array.shape[2]) != total.shape:
                raise PosteriorError(f"{name} has shape {array.shape}, not {axes} with {shape}")
        if slopes is not None and slopes.shape[1] == 0:
            raise PosteriorError(f"beta has no covariates: its shape [S, K, T] is {slopes.shape}; leave it out")
        return cls(
            mean,
            total,
            factors,
            names_array(feature_names),
            names_array(group_names),
            None if fitted is None else np.asarray(fitted, dtype=bool),
            inflation,
            slopes,
            names_array(covariate_names),
        )

    def facts(self) -> Facts:
        """Tell sizes and names."""
        nsamples, nfeatures = self.phi.shape
        every = self.mu, self.phi, self.alpha, self.zero_inflation, self.beta
        arrays = [array for array in every if array is not None]
        return Facts(
            nsamples=nsamples,
            nfeatures=nfeatures,
            ngroups=1 if self.alpha is None else self.alpha.shape[1],
            bytes_per_sample=sum(a.nbytes for a in arrays) // max(nsamples, 1),
            dtype=np.result_type(*arrays),
            feature_names=self.feature_names,
            group_names=self.group_names,
            fitted=self.fitted,
            ncovariates=0 if self.beta is None else self.beta.shape[1],
            covariate_names=self.covariate_names,
            zero_inflated=self.zero_inflation is not None,
        )

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Copy the given samples and features to float64."""
        phi = _block(self.phi, samples, features)
        nsamples, nfeatures = phi.shape
        return Parameters(
            np.ones_like(phi) if self.mu is None else _block(self.mu, samples, features),
            phi,
            np.ones((nsamples, 1, nfeatures)) if self.alpha is None else _block(self.alpha, samples, features),
            None if self.zero_inflation is None else _block(self.zero_inflation, samples, features),
            None if self.beta is None else _block(self.beta, samples, features),
        )


def _optional(name: str, values: ArrayLike | None, ndim: int) -> NDArray[Any] | None:
    """An array of floats, None where nothing is given."""
    return None if values is None else floating_array(values, name, ndim)


def _block(array: NDArray[Any], samples: IndexArray, features: IndexArray | None) -> FloatArray:
    """A float64 copy of some rows and, on the last axis, some columns."""
    if features is None:
        chosen = array[samples]
    else:  # one gather: columns of all samples, or rows of all features, may be thousands of times as much
        chosen = array[np.ix_(samples, *map(np.arange, array.shape[1:-1]), features)]
    return np.ascontiguousarray(chosen, dtype=np.float64)
