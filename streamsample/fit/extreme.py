"""Draws that the stream can't take are found, and met, when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from streamsample.domain import MEAN_MAX, PHI_MAX, PHI_MIN
from streamsample.errors import FitError
from streamsample.fit.draw import Draws
from streamsample.geometry import minibatches
from streamsample.parameters import FloatArray, Names

OnExtreme = Literal["error", "drop-feature", "clip"]
POLICIES: tuple[str, ...] = get_args(OnExtreme)

_ROWS_ELEMENTS = 2**21
# Bounds that stay inside the domain as float32, in which draws are kept: the nearest float32 to 1e-6 is below it.
_PHI_LOW, _PHI_HIGH = np.nextafter(np.float32(PHI_MIN), np.float32(1)), np.nextafter(np.float32(PHI_MAX), np.float32(1))
_MEAN_HIGH = MEAN_MAX * (1 - 2.0**-20)
_FINITE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Extremes:
    """Which draws are outside the stream's domain."""

    per_feature: NDArray[np.int64]
    """(T,) how many draws."""
    first: str
    """The first of them, described; empty if there is none."""

    @property
    def features(self) -> NDArray[np.bool_]:
        """(T,) features with such a draw."""
        return self.per_feature > 0


def find(draws: Draws, largest: FloatArray, names: Names) -> Extremes:
    """Check every draw against the domain of the stream.

    Parameters
    ----------
    draws
        To be checked.
    largest
        (C,) largest size factor in each group.
    names
        (T,) names of the features.
    """
    nsamples, nfeatures = draws.mu.shape
    per_feature, first = np.zeros(nfeatures, dtype=np.int64), ""
    for s0, s1 in minibatches(nsamples, max(1, _ROWS_ELEMENTS // (nfeatures * largest.size))):
        outside = _outside(draws, s0, s1, largest)
        per_feature += outside.sum(axis=0)
        if not first and outside.any():
            row, t = (int(i) for i in np.argwhere(outside)[0])
            mu, phi, alpha = draws.mu[s0 + row, t], draws.phi[s0 + row, t], draws.alpha[s0 + row, :, t]
            first = (
                f"{str(names[t])!r} in sample {s0 + row}: mu={mu:.3g}, phi={phi:.3g}, largest alpha={alpha.max():.3g}"
            )
    return Extremes(per_feature, first)


def _outside(draws: Draws, s0: int, s1: int, largest: FloatArray) -> NDArray[np.bool_]:
    """(s, T) mask of draws outside the domain, in the arithmetic of the stream's own check."""
    mu, phi, alpha = (array[s0:s1].astype(np.float64) for array in (draws.mu, draws.phi, draws.alpha))
    with np.errstate(invalid="ignore", over="ignore"):  # 0 * inf is NaN, which is outside
        means = (mu[:, None] * alpha) * largest[:, None]  # (s, C, T)
    inside = np.isfinite(mu) & (means <= MEAN_MAX).all(axis=1) & np.isfinite(alpha).all(axis=1)
    inside &= ((phi >= PHI_MIN) & (phi <= PHI_MAX)) | np.isposinf(phi)
    return np.asarray(~inside)


def meet(draws: Draws, largest: FloatArray, reference: int, names: Names, policy: OnExtreme) -> NDArray[np.bool_]:
    """Apply a policy to the draws outside the stream's domain.

    Parameters
    ----------
    draws, largest, names
        As in `find`; ``"clip"`` changes the draws in place.
    reference
        The group whose alpha is 1 and stays so.
    policy
        ``"error"`` raises; ``"drop-feature"`` leaves these features out; ``"clip"`` moves these draws to the border.

    Returns
    -------
    numpy.ndarray
        (T,) features to keep.

    Raises
    ------
    FitError
        If the policy says so, or a draw is NaN, for which there is no border.
    """
    extremes = find(draws, largest, names)
    bad = extremes.features
    if not bad.any():
        return ~bad
    told = (
        f"{int(extremes.per_feature.sum())} draws of {int(bad.sum())} of {bad.size} features are outside the stream's "
        f"domain (mean <= {MEAN_MAX:g}, phi in [{PHI_MIN:g}, {PHI_MAX:g}]), the first is {extremes.first}"
    )
    if policy == "error":
        raise FitError(f"{told}; give on_extreme='drop-feature' or 'clip', or leave these features out")
    if policy == "drop-feature":
        return ~bad
    _clip(draws, largest, reference, bad)
    left = find(draws, largest, names)
    if left.features.any():
        raise FitError(
            f"{told}; NaN can't be clipped ({left.first}): give on_extreme='drop-feature' or lr= a smaller number"
        )
    return np.ones_like(bad)


def _clip(draws: Draws, largest: FloatArray, reference: int, bad: NDArray[np.bool_]) -> None:
    """Move the draws of some features to the border: phi; mu by the reference group's limit; then each alpha."""
    phi, mu, alpha = draws.phi[:, bad], draws.mu[:, bad].astype(np.float64), draws.alpha[:, :, bad]
    draws.phi[:, bad] = np.where(np.isposinf(phi), phi, np.clip(phi, _PHI_LOW, _PHI_HIGH))
    draws.mu[:, bad] = mu = np.minimum(mu, _MEAN_HIGH / largest[reference]).astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):  # a mean of 0 takes any finite alpha
        room = _MEAN_HIGH / (mu[:, None].astype(np.float64) * largest[:, None])
    room[:, reference] = 1
    draws.alpha[:, :, bad] = np.minimum(alpha, np.minimum(room, _FINITE))
