"""The posterior-predictive picture: whether the counts that the model makes look like those observed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import DataError
from streamsample.parameters import FloatArray
from streamsample.report.figure import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from streamsample.summary import Summary

LEVEL = 0.9
"""Share of the draws inside an interval."""

MANY = 2000
"""Features from which on dots get smaller and translucent, or a panel becomes a solid mass."""

_INSIDE, _OUTSIDE, _PREDICTED, _GUIDE = "#1f5a8a", "#d1602b", "#9fc1dc", "#9a9a9a"


@dataclass(frozen=True)
class Observed:
    """What the picture needs of observed counts."""

    mean: FloatArray
    """(T,) over cells."""
    zero_fraction: FloatArray
    """(T,) share of the cells without a count."""
    ncells: int
    """N."""

    @classmethod
    def of(cls, counts: Any) -> Observed:
        """Summarise counts (N, T), a NumPy array or a SciPy sparse one."""
        ncells = counts.shape[0]
        zeros = ncells - np.asarray((counts != 0).sum(axis=0)).ravel()
        mean = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / ncells
        return cls(mean, zeros / ncells, ncells)


@dataclass(frozen=True)
class Interval:
    """Predictive interval of each feature over the samples."""

    low: FloatArray
    """(T,)."""
    middle: FloatArray
    """(T,) median."""
    high: FloatArray
    """(T,)."""

    @classmethod
    def of(cls, draws: FloatArray) -> Interval:
        """Take the central `LEVEL` of draws (S, T)."""
        tail = (1 - LEVEL) / 2
        return cls(*np.quantile(draws, [tail, 0.5, 1 - tail], axis=0))

    def holds(self, values: FloatArray) -> NDArray[np.bool_]:
        """(T,) whether the values lie inside."""
        return (self.low <= values) & (values <= self.high)


def coverage(observed: Observed, summary: Summary, fitted: NDArray[np.bool_] | None = None) -> str:
    """Say which share of the features lies inside its predictive interval.

    Parameters
    ----------
    observed, summary, fitted
        As for `plot_ppc`.
    """
    shown = np.ones(observed.mean.size, dtype=bool) if fitted is None else fitted
    means, zeros = Interval.of(summary.mean[:, shown]), Interval.of(summary.zero_fraction[:, shown])
    inside = means.holds(observed.mean[shown]).mean(), zeros.holds(observed.zero_fraction[shown]).mean()
    return f"{inside[0]:.0%} of the means and {inside[1]:.0%} of the zero fractions inside the predictive {LEVEL:.0%}"


def plot_ppc(
    observed: Observed,
    summary: Summary,
    path: str | os.PathLike[str],
    *,
    fitted: NDArray[np.bool_] | None = None,
    title: str = "Posterior predictive check",
) -> Path:
    """Draw observed against predictive mean, and zero fraction against mean, with predictive 90% intervals.

    Parameters
    ----------
    observed
        Observed counts, summarised for each feature over the same cells.
    summary
        The stream's, ``mean`` and ``zero_fraction`` of shape (S, T).
    path
        Where the picture goes; its suffix (``.png``, ``.pdf``, ``.svg``) chooses the format.
    fitted
        (T,) False for features that are left out, and counted in a note.
    title
        Title of the picture.

    Raises
    ------
    DataError
        If the features disagree, or none is left to draw.
    MissingExtra
        Without matplotlib.
    StoreError
        If the picture can't be written.
    """
    shown = np.ones(observed.mean.size, dtype=bool) if fitted is None else np.asarray(fitted, dtype=bool)
    if summary.mean.shape[1:] != observed.mean.shape or shown.shape != observed.mean.shape:
        raise DataError(f"{observed.mean.size} features are observed but {summary.mean.shape[1]} are predicted")
    if not shown.any():
        raise DataError(f"none of the {shown.size} features was fitted, there is nothing to draw")
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    means, zeros = Interval.of(summary.mean[:, shown]), Interval.of(summary.zero_fraction[:, shown])
    floor = 0.5 / observed.ncells  # a log axis has no zero: features without any count stand here
    x, y = np.maximum(observed.mean[shown], floor), observed.zero_fraction[shown]
    _draw_means(left, x, means, floor)
    _draw_zeros(right, x, y, zeros)
    nsamples, left_out = len(summary.mean), int((~shown).sum())
    note = f"{int(shown.sum()):,} features, {observed.ncells:,} cells, {nsamples:,} posterior samples"
    note += f"; unfitted and left out: {left_out:,}" if left_out else ""
    figure.suptitle(title, x=0.5, fontsize=13, fontweight="bold")
    figure.supxlabel(note, fontsize=9, color="#555555")
    return save(figure, Path(path))


def _draw_means(axes: Axes, x: FloatArray, predicted: Interval, floor: float) -> None:
    """Draw predictive against observed mean, on logarithmic axes."""
    predicted = Interval(*(np.maximum(values, floor) for values in (predicted.low, predicted.middle, predicted.high)))
    inside = predicted.holds(x)
    low, high = min(x.min(), predicted.low.min()) / 1.4, max(x.max(), predicted.high.max()) * 1.4
    axes.plot([low, high], [low, high], color=_GUIDE, linewidth=1, zorder=1, label="equal")
    _bars(axes, x, predicted, 1.6)
    _dots(axes, x, predicted.middle, inside)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="observed mean count", ylabel="predictive mean count")
    axes.yaxis.set_major_formatter("{x:g}")
    _finish(axes, "Mean", inside, "upper left")


def _draw_zeros(axes: Axes, x: FloatArray, observed: FloatArray, predicted: Interval) -> None:
    """Draw the share of zeros against the observed mean: observed dots over predictive intervals."""
    inside = predicted.holds(observed)
    _bars(axes, x, predicted, 2.4)
    _dots(axes, x, observed, inside)
    axes.set(xscale="log", ylim=(-0.03, 1.03))
    axes.set(xlabel="observed mean count", ylabel="share of cells without a count")
    _finish(axes, "Zero fraction", inside, "lower left")


def _bars(axes: Axes, x: FloatArray, predicted: Interval, width: float) -> None:
    """Draw predictive intervals; many of them as one bitmap in a vector picture."""
    many = x.size > MANY
    axes.vlines(
        x,
        predicted.low,
        predicted.high,
        color=_PREDICTED,
        linewidth=width / 2 if many else width,
        alpha=0.25 if many else None,
        rasterized=many,
        zorder=2,
        label=f"predictive {LEVEL:.0%}",
    )


def _dots(axes: Axes, x: FloatArray, y: FloatArray, inside: NDArray[np.bool_]) -> None:
    """Draw features, those outside their interval in a colour of their own."""
    style: dict[str, Any] = {"s": 13, "linewidths": 0.3, "edgecolors": "white"}
    if x.size > MANY:
        style = {"s": 3, "linewidths": 0, "alpha": 0.3, "rasterized": True}
    axes.scatter(
        x[inside], y[inside], color=_INSIDE, zorder=3, label=f"observed inside ({int(inside.sum()):,})", **style
    )
    axes.scatter(
        x[~inside], y[~inside], color=_OUTSIDE, zorder=4, label=f"observed outside ({int((~inside).sum()):,})", **style
    )


def _finish(axes: Axes, title: str, inside: NDArray[np.bool_], where: Literal["upper left", "lower left"]) -> None:
    """Give both panels the same dress."""
    axes.set_title(
        f"{title}: {inside.mean():.0%} of features inside the predictive {LEVEL:.0%} interval",
        fontsize=9.5,
        loc="left",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(which="major", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(loc=where, fontsize=8.5, frameon=False, handlelength=1.2)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
