"""Calibration: whether observed counts lie where a stream says that they should, count by count."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import DataError
from streamsample.geometry import minibatches
from streamsample.parameters import FloatArray
from streamsample.report.figure import new_figure, save
from streamsample.report.ppc import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from streamsample.stream import CountStream

BINS = 20
"""Of the histogram; the first and the last are what lies outside the central 90 %."""
CLASSES = (0.0, 0.1, 1.0, 10.0, 100.0, np.inf)
"""Borders of the classes of features, by the observed mean over cells."""

_BLOCK = 2**22  # counts drawn at a time, of a quarter as many addresses

_BAR, _GUIDE, _BAND = "#1f5a8a", "#9a9a9a", "#e8eef4"


@dataclass(frozen=True)
class Calibration:
    """Randomised probability integral transforms (PIT) of observed counts, counted.

    A count's PIT is its rank among the stream's samples of it, ties broken at random, as a fraction of all ranks. If
    the count could as well be one of the samples, it is uniform: this holds for any number of samples.
    """

    histogram: NDArray[np.int64]
    """(5, 20) counts whose PIT lies in each twentieth, by class of the features' observed means (`CLASSES`)."""
    nsamples: int
    """S."""

    @property
    def ncounts(self) -> int:
        """Counts that were looked at."""
        return int(self.histogram.sum())

    @property
    def coverage(self) -> float:
        """Share of the counts inside the central 90 % interval."""
        return float(1 - self.histogram[:, [0, -1]].sum() / self.ncounts)

    def coverage_by_mean(self) -> FloatArray:
        """(5,) share for each class of features, NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return np.asarray(1 - self.histogram[:, [0, -1]].sum(axis=1) / self.histogram.sum(axis=1))

    def line(self) -> str:
        """Say it in a line."""
        below, above = self.histogram[:, [0, -1]].sum(axis=0) / self.ncounts
        return (
            f"predictive {LEVEL:.0%} intervals hold {self.coverage:.1%} of {self.ncounts:,} observed counts; "
            f"{below:.1%} are below, {above:.1%} above"
        )


def calibrate(
    stream: CountStream,
    counts: Any,
    *,
    fitted: NDArray[np.bool_] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Compare observed counts with a stream's, of which none is stored.

    Memory grows with the features, not with the cells or samples.

    Parameters
    ----------
    stream
        Of S samples, at least 19, so that intervals of 90 % have ends.
    counts
        (N, T) observed in the stream's cells and features, a NumPy array or a SciPy sparse one. Of cells that the fit
        has not seen, if calibration is to say more than that it has seen them.
    fitted
        (T,) False for features to leave out; those that the posterior has fitted if not given.
    seed
        Of the ranks among ties.
    progress
        Called with the cells done and all cells.

    Raises
    ------
    DataError
        If shapes disagree, there are too few samples, or no feature is left.
    """
    nsamples, ncells, nfeatures = stream.shape
    shown = stream.posterior.fitted[stream.selection.features] if fitted is None else np.asarray(fitted, dtype=bool)
    if counts.shape != (ncells, nfeatures) or shown.shape != (nfeatures,):
        raise DataError(f"observed counts are {counts.shape} but the stream has {ncells} cells x {nfeatures} features")
    if nsamples < BINS - 1:
        raise DataError(f"{nsamples} samples can't tell the ends of {LEVEL:.0%} intervals; give at least {BINS - 1}")
    if not shown.any() or not ncells:
        raise DataError(f"none of the {nfeatures} features was fitted, or there is no cell: nothing can be compared")
    mean = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()[shown] / ncells
    classes = np.searchsorted(CLASSES, mean, side="right") - 1  # (t,)
    rng, histogram = np.random.default_rng(seed), np.zeros((len(CLASSES) - 1, BINS), dtype=np.int64)
    for n0, n1 in minibatches(ncells, max(4, _BLOCK // nfeatures // 16 * 4)):  # four cells share random numbers
        block = counts[n0:n1]
        seen = np.asarray(block if isinstance(block, np.ndarray) else block.toarray())
        pit = _ranks(stream, seen, n0, n1, rng)[:, shown]
        where = classes * BINS + np.minimum((pit * BINS).astype(np.int64), BINS - 1)
        histogram += np.bincount(where.ravel(), minlength=histogram.size).reshape(histogram.shape)
        if progress is not None:
            progress(n1, ncells)
    return Calibration(histogram, nsamples)


def _ranks(stream: CountStream, seen: NDArray[Any], n0: int, n1: int, rng: np.random.Generator) -> FloatArray:
    """(n, T) ranks of counts seen in the cells ``n0:n1`` among the samples, in (0, 1), ties at random."""
    nsamples = stream.shape[0]
    below, equal = np.zeros(seen.shape), np.ones(seen.shape)  # of itself it is one
    for s0, s1 in minibatches(nsamples, max(1, _BLOCK // max(1, seen.size))):
        drawn = stream[s0:s1, n0:n1]  # (s, n, T)
        below += (drawn < seen).sum(axis=0)
        equal += (drawn == seen).sum(axis=0)
    return np.asarray((below + rng.uniform(size=seen.shape) * equal) / (nsamples + 1))


def plot_calibration(
    found: Calibration, path: str | os.PathLike[str], *, title: str = "Calibration of predictive counts"
) -> Path:
    """Draw the histogram of PITs, and the coverage of 90 % intervals by the features' mean.

    Parameters
    ----------
    found
        What `calibrate` returns.
    path
        Where the picture goes; its suffix (``.png``, ``.pdf``, ``.svg``) chooses the format.
    title
        Title of the picture.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    StoreError
        If the picture can't be written.
    """
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    _draw_histogram(left, found)
    _draw_coverage(right, found)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.5, fontsize=13, fontweight="bold")
    figure.supxlabel(f"{found.ncounts:,} counts, {found.nsamples:,} posterior samples", fontsize=9, color="#555555")
    return save(figure, Path(path))


def _draw_histogram(axes: Axes, found: Calibration) -> None:
    """Draw how often each twentieth occurs, relative to what calibration would give."""
    relative = BINS * found.histogram.sum(axis=0) / found.ncounts
    axes.bar((np.arange(BINS) + 0.5) / BINS, relative, width=0.92 / BINS, color=_BAR)
    axes.axhline(1, color=_GUIDE, linewidth=1)
    axes.set(xlim=(0, 1), xlabel="rank among the samples (randomised PIT)", ylabel="share of counts, calibrated = 1")
    axes.set_title("All counts", fontsize=9.5, loc="left")


def _draw_coverage(axes: Axes, found: Calibration) -> None:
    """Draw the share inside the interval for each class of features."""
    axes.axhspan(LEVEL - 0.05, LEVEL + 0.05, color=_BAND, zorder=0)
    axes.axhline(LEVEL, color=_GUIDE, linewidth=1, zorder=1)
    shares = found.coverage_by_mean()
    axes.plot(np.arange(shares.size), shares, "o", color=_BAR, zorder=2)
    middle = [f"{a:g}-{b:g}" for a, b in pairwise(CLASSES[1:-1])]
    axes.set_xticks(np.arange(shares.size), [f"< {CLASSES[1]:g}", *middle, f"> {CLASSES[-2]:g}"])
    low = min(0.8, float(np.nanmin(shares)) - 0.02)
    axes.set(xlim=(-0.5, shares.size - 0.5), ylim=(low, 1), xlabel="observed mean count of the feature")
    axes.set_ylabel(f"share inside predictive {LEVEL:.0%}")
    axes.set_title(f"{found.coverage:.1%} inside the predictive {LEVEL:.0%} interval", fontsize=9.5, loc="left")
