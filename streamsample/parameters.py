"""Parameter draws: what they are, where they come from, and the domain they must stay in."""

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

PHI_MIN, PHI_MAX = 1e-6, 1e12  # the stream's domain (docs/design.md); phi may also be inf
MEAN_MAX = 1e7


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
    """Size of one sample's mu, phi and alpha as stored."""
    dtype: np.dtype[Any]
    """float32 or float64: the narrowest type that holds every draw exactly."""
    feature_names: Names | None = None
    """(T,) or None."""
    group_names: Names | None = None
    """(C,) or None."""
    fitted: NDArray[np.bool_] | None = None
    """(T,) features that the fit has seen; None: all of them."""


@dataclass(frozen=True)
class Parameters:
    """One minibatch of draws, as float64 blocks in C order."""

    mu: FloatArray
    """(S, T) mean of the reference group at size factor 1."""
    phi: FloatArray
    """(S, T) total count; inf is Poisson."""
    alpha: FloatArray
    """(S, C, T) factor of each group."""


class Source(Protocol):
    """Where parameter draws come from: arrays, a file, another library's posterior."""

    def facts(self) -> Facts:
        """Tell sizes and names, without reading any draw."""

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples, of the given features only if these are named."""


@dataclass(frozen=True)
class ArraySource:
    """Draws held in memory, in whatever floating type they came."""

    mu: NDArray[Any]
    """(S, T)."""
    phi: NDArray[Any]
    """(S, T)."""
    alpha: NDArray[Any] | None = None
    """(S, C, T), or None for ones."""
    feature_names: Names | None = None
    group_names: Names | None = None
    fitted: NDArray[np.bool_] | None = None

    def facts(self) -> Facts:
        """Tell sizes and names."""
        nsamples, nfeatures = self.mu.shape
        arrays = [self.mu, self.phi] + ([] if self.alpha is None else [self.alpha])
        return Facts(
            nsamples=nsamples,
            nfeatures=nfeatures,
            ngroups=1 if self.alpha is None else self.alpha.shape[1],
            bytes_per_sample=sum(a.nbytes for a in arrays) // max(nsamples, 1),
            dtype=np.result_type(*arrays),
            feature_names=self.feature_names,
            group_names=self.group_names,
            fitted=self.fitted,
        )

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Copy the given samples and features to float64."""
        mu, phi = _block(self.mu, samples, features), _block(self.phi, samples, features)
        alpha = np.ones((len(mu), 1, mu.shape[1])) if self.alpha is None else _block(self.alpha, samples, features)
        return Parameters(mu, phi, alpha)


def _block(array: NDArray[Any], samples: IndexArray, features: IndexArray | None) -> FloatArray:
    """A float64 copy of some rows and, on the last axis, some columns."""
    chosen = array[samples] if features is None else np.take(array, features, axis=-1)[samples]
    return np.ascontiguousarray(chosen, dtype=np.float64)


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
        axes = {1: "[N]", 2: "[S, T]", 3: "[S, C, T]"}[ndim]
        raise PosteriorError(f"{name} has shape {array.shape}; it needs {ndim} axes, {axes}")
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "iufb":
        raise PosteriorError(f"{name} holds {array.dtype}, not numbers")
    return array.astype(np.float64)


def check_values(block: Parameters, samples: IndexArray, features: IndexArray | None, largest: FloatArray) -> None:
    """Check the stream's domain: 0 <= m <= 1e7, phi in [1e-6, 1e12] or inf, nothing NaN.

    `largest` holds the largest size factor of each group, (C,).
    """

    def refuse(bad: NDArray[np.bool_], values: FloatArray, what: str, rule: str) -> None:
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            t = column if features is None else int(features[column])
            raise PosteriorError(
                f"{what} must be {rule}: {int(bad.sum())} of {bad.size} values are not, "
                f"the first is {values[row, column]:g} at (s={int(samples[row])}, t={t})"
            )

    refuse(~(np.isfinite(block.mu) & (block.mu >= 0)), block.mu, "mu", "finite and at least 0")
    phi_ok = ((block.phi >= PHI_MIN) & (block.phi <= PHI_MAX)) | np.isposinf(block.phi)
    refuse(~phi_ok, block.phi, "phi", f"in [{PHI_MIN:g}, {PHI_MAX:g}] or inf")
    for c, factor in enumerate(largest):
        alpha = block.alpha[:, c]
        refuse(~(np.isfinite(alpha) & (alpha >= 0)), alpha, f"alpha of group {c}", "finite and at least 0")
        with np.errstate(over="ignore", invalid="ignore"):  # inf, and inf * 0, are refused below
            mean = block.mu * alpha * factor
        what = f"the mean at group {c}'s largest size factor {factor:g}"
        refuse(~(mean <= MEAN_MAX), mean, what, f"at most {MEAN_MAX:g}")
