"""Parameter draws: what they are, and what gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray

FloatArray = NDArray[np.float64]
Names = NDArray[np.str_]

STREAM_VERSIONS = 1, 2
"""Definitions of the stream that this program computes (docs/design.md)."""


@dataclass(frozen=True)
class Facts:
    """What is known of parameter draws without reading them."""

    nsamples: int
    """S."""
    nfeatures: int
    """T."""
    ngroups: int
    """C."""
    bytes_per_sample: int
    """Size of one sample's parameters as stored."""
    dtype: np.dtype[Any]
    """float32 or float64: the narrowest type that holds every draw exactly."""
    feature_names: Names | None = None
    """(T,) or None."""
    group_names: Names | None = None
    """(C,) or None."""
    fitted: NDArray[np.bool_] | None = None
    """(T,) features that the fit has seen; None: all of them."""
    ncovariates: int = 0
    """K, 0 where there is no beta."""
    covariate_names: Names | None = None
    """(K,) or None."""
    zero_inflated: bool = False
    """Whether there is zero_inflation."""

    @property
    def stream_version(self) -> int:
        """Which definition of the stream these draws call for (docs/design.md)."""
        return 2 if self.ncovariates or self.zero_inflated else 1

    @property
    def nblocks(self) -> int:
        """Blocks [S, T] that draws take once they are read: mu, phi, C of alpha, K of beta, one of zero inflation."""
        return 2 + self.ngroups + self.ncovariates + self.zero_inflated


@dataclass(frozen=True)
class Parameters:
    """One minibatch of draws, as float64 blocks in C order."""

    mu: FloatArray
    """(S, T) mean of the reference group at size factor 1."""
    phi: FloatArray
    """(S, T) total count; inf is Poisson."""
    alpha: FloatArray
    """(S, C, T) factor of each group."""
    zero_inflation: FloatArray | None = None
    """(S, T) chance that a count is 0 whatever its mean, or None."""
    beta: FloatArray | None = None
    """(S, K, T) coefficients of the design's columns in the logarithm of the mean, or None."""

    @property
    def arrays(self) -> tuple[FloatArray, ...]:
        """Those that are there: mu, phi, alpha, zero_inflation, beta."""
        every = self.mu, self.phi, self.alpha, self.zero_inflation, self.beta
        return tuple(array for array in every if array is not None)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays)

    def rows(self, chosen: slice) -> Parameters:
        """Views of some of the samples."""
        zero_inflation = None if self.zero_inflation is None else self.zero_inflation[chosen]
        beta = None if self.beta is None else self.beta[chosen]
        return Parameters(self.mu[chosen], self.phi[chosen], self.alpha[chosen], zero_inflation, beta)


class Source(Protocol):
    """Where parameter draws come from: arrays, a file, another library's posterior."""

    def facts(self) -> Facts:
        """Tell sizes and names, without reading any draw."""

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples, of the given features only if these are named."""


def names_array(names: Sequence[str] | Names | None) -> Names | None:
    """Names as a one-dimensional array of str, or None."""
    return None if names is None else np.asarray([str(name) for name in names], dtype=np.str_)


def list_names(names: Iterable[str], most: int = 12) -> str:
    """Join names for an error, the first few where there are many."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def floating_array(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """An array of float32 or float64 with the right number of axes."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise PosteriorError(f"{name} is not an array: {error}") from error
    if array.ndim != ndim:
        axes = {1: "[N]", 2: "[S, T]", 3: "[S, K, T]" if name == "beta" else "[S, C, T]"}[ndim]
        raise PosteriorError(f"{name} has shape {array.shape}; it needs {ndim} axes, {axes}")
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "iufb":
        raise PosteriorError(f"{name} holds {array.dtype}, not numbers")
    return array.astype(np.float64)
