"""``streamsample ppc``: the posterior-predictive picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamsample.cli.common import logger, number_of, say
from streamsample.cli.options import (
    CountsFile,
    DesignKey,
    GroupKey,
    Layer,
    Overwrite,
    PosteriorFile,
    Samples,
    Seed,
    SumFactorKey,
)
from streamsample.cli.outputs import check_output
from streamsample.cli.progress import Bar
from streamsample.cli.streams import OtherCells, Part

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

PICTURES = (".png", ".pdf", ".svg")

Out = Annotated[Path, typer.Option("-o", "--output", metavar="PPC.png", help="The picture: .png, .pdf or .svg.")]
AllCells = Annotated[
    bool,
    typer.Option(
        "--all-cells", help="Predict every cell of the file, even if the posterior's own cells are among them."
    ),
]
Ranks = Annotated[
    bool,
    typer.Option(
        "--ranks", help="Draw instead where each observed count ranks among its samples, and say how calibrated it is."
    ),
]


def ppc(
    posterior: PosteriorFile,
    counts: CountsFile,
    output: Out,
    all_cells: AllCells = False,
    ranks: Ranks = False,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    layer: Layer = None,
    design: DesignKey = None,
    samples: Samples = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw the predictive check.

    Observed against predictive mean, and zero fraction against mean, with predictive 90% intervals. Cells and genes
    are joined by name. Where the file lacks cells of the posterior, the parameters are applied to all its cells.
    With --ranks the check is of single counts (randomised PIT), best of cells that the fit has not seen.

    Example:
      streamsample ppc posterior.h5 counts.h5ad -o ppc.png
    """
    check_output(output, overwrite, suffixes=PICTURES, inputs=(posterior, counts))
    from streamsample.posterior import Posterior

    others = OtherCells(counts, group_key, sum_factor_key, layer, design)
    source = Posterior.open(posterior)
    if all_cells or not _has_cells(counts, source):
        source = others.put_into(source, counts)
    elif group_key or sum_factor_key or design:
        logger.warning(
            "%s has no effect: the posterior's own cells are in %s; --all-cells predicts that file's",
            others.options[0],
            counts,
        )
    (draw_ranks if ranks else draw)(source, counts, output, samples=samples, seed=seed, layer=layer)


def _has_cells(counts: Path, posterior: Posterior) -> bool:
    """Tell whether the posterior's own cells are all in a file; without names, whether it has as many."""
    from streamsample.interop.table import open_table

    names = posterior.cells.names
    with open_table(counts) as table:
        return table.shape[0] == posterior.shape[1] if names is None else set(names) <= set(table.cells)


def draw(
    posterior: Posterior,
    counts: Path,
    output: Path,
    *,
    samples: str | None = None,
    seed: int = 0,
    layer: str | None = None,
) -> None:
    """Summarise a stream over its cells under a bar, and draw it against the same cells' counts."""
    from streamsample.interop.counts import observed
    from streamsample.report.ppc import Observed, coverage, plot_ppc
    from streamsample.stream import CountStream
    from streamsample.summary import summarise

    seen = Observed.of(observed(posterior, counts, layer=layer))
    stream = Part(samples).of(CountStream(posterior, seed=seed))
    with Bar("summarise", "samples") as bar:
        summary = summarise(stream, progress=bar.update)
    plot_ppc(seen, summary, output, fitted=posterior.fitted)
    sizes = (
        number_of(seen.ncells, "cell"),
        number_of(int(posterior.fitted.sum()), "feature"),
        number_of(len(summary.mean), "sample"),
    )
    say(f"{output}: {', '.join(sizes)}; {coverage(seen, summary, posterior.fitted)}")


def draw_ranks(
    posterior: Posterior,
    counts: Path,
    output: Path,
    *,
    samples: str | None = None,
    seed: int = 0,
    layer: str | None = None,
) -> None:
    """Rank each observed count among its samples under a bar, and draw how calibrated they are."""
    from streamsample.interop.counts import observed
    from streamsample.report.calibration import calibrate, plot_calibration
    from streamsample.stream import CountStream

    seen = observed(posterior, counts, layer=layer)
    stream = Part(samples).of(CountStream(posterior, seed=seed))
    with Bar("rank", "cells") as bar:
        found = calibrate(stream, seen, progress=bar.update)
    plot_calibration(found, output)
    say(f"{output}: {found.line()}")
