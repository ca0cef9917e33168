"""The pictures of docs/benchmarks.md."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, SHADES, RIVAL = "#1f5a8a", ("#9fc1dc", "#6497c4", "#1f5a8a", "#0d2f4d"), "#d1602b"
MEGA = 1e-6


def draw_all(results: Results, folder: Path) -> None:
    """Write ``bench-batch.png``, ``bench-mean.png`` and ``bench-peers.png``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    for name, draw in (("batch", draw_batch), ("mean", draw_mean), ("peers", draw_peers)):
        figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        draw(results, axes)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / f"bench-{name}.png", dpi=150)
        plt.close(figure)


def draw_batch(results: Results, axes: Axes) -> None:
    """Throughput against minibatch, a line a slab, beside Pyro's."""
    found = list(results.of("batch"))
    slabs = list(dict.fromkeys((one.info["slab_samples"], one.info["slab_cells"]) for one in found))
    for (s, n), colour in zip(slabs, cycle(SHADES), strict=False):
        line = [one for one in found if (one.info["slab_samples"], one.info["slab_cells"]) == (s, n)]
        x, y = [one.info["minibatch"] for one in line], [one.rate.median * MEGA for one in line]
        label = f"slab of {s} sample{'s' * (s > 1)} x {n:,} cells, {line[0].info['slab_nbytes'] / 2**20:.2g} MiB"
        axes.loglog(x, y, "o-", color=colour, label=label)
    pyro = list(results.of("batch of Pyro"))
    x, y = [one.info["minibatch"] for one in pyro], [one.rate.median * MEGA for one in pyro]
    axes.loglog(x, y, "s--", color=RIVAL, label="Pyro Predictive (1 thread)")
    axes.set(
        xlabel="minibatch (samples)", ylabel="million counts a second", xticks=x, xticklabels=map(str, x),
        title=f"Throughput against batch size ({found[0].info['threads']} threads)",
    )  # fmt: skip
    axes.set_ylim(1, None)
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small")


def draw_mean(results: Results, axes: Axes) -> None:
    """Throughput against the features' mean, one thread."""
    found = list(results.of("mean"))
    x = [one.info["mean"] for one in found]
    axes.loglog(x, [one.rate.median * MEGA for one in found], "o-", color=OURS, label="streamsample")
    numpy = [one.rival("numpy").median * MEGA for one in found]
    axes.loglog(x, numpy, "s--", color=RIVAL, label="numpy Generator.negative_binomial")
    axes.set(xlabel="mean count", ylabel="million counts a second", title="Throughput against mean (1 thread)")
    axes.set_ylim(1, None)
    axes.legend(frameon=False, fontsize="small")


def draw_peers(results: Results, axes: Axes) -> None:
    """Bars: streamsample and its peers on each workload, one thread."""
    found = list(results.of("peers"))
    names = ["streamsample", *found[0].info["rates"]]
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        rates = [(one.rate if i == 0 else one.rival(name)).median * MEGA for one in found]
        places = [j + (i - (len(names) - 1) / 2) * width for j in range(len(found))]
        bars = axes.bar(
            places, rates, 0.9 * width, color=OURS if i == 0 else RIVAL, alpha=1 - 0.2 * max(0, i - 1), label=name
        )
        axes.bar_label(bars, [f"{rate:.2g}" if rate < 100 else f"{rate:.0f}" for rate in rates], fontsize="x-small")
    axes.set_yscale("log")
    axes.set_xticks(range(len(found)), [one.name for one in found])
    axes.set(ylabel="million counts a second", title="The same posterior, one thread each")
    axes.legend(frameon=False, fontsize="small")
