"""``streamsample ppc``: the posterior-predictive picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamsample.cli.common import refuse_existing, say
from streamsample.cli.options import CountsFile, GroupKey, Overwrite, PosteriorFile, Samples, Seed, SumFactorKey
from streamsample.cli.progress import Bar

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

Out = Annotated[Path, typer.Option("-o", "--output", metavar="PPC.png", help="The picture: .png, .pdf or .svg.")]
AllCells = Annotated[
    bool,
    typer.Option(
        "--all-cells", help="Predict every cell of the file, even if the posterior's own cells are among them."
    ),
]


def ppc(
    posterior: PosteriorFile,
    counts: CountsFile,
    output: Out,
    all_cells: AllCells = False,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    samples: Samples = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw the predictive check.

    Observed against predictive mean, and zero fraction against mean, with predictive 90 % intervals. Cells and genes
    are joined by name. Where the file lacks cells of the posterior, the parameters are applied to all its cells.

    Example:
      streamsample ppc posterior.h5 counts.h5ad -o ppc.png
    """
    refuse_existing(output, overwrite)
    from streamsample.posterior import Posterior

    source = Posterior.open(posterior)
    if all_cells or not _has_cells(counts, source):
        source = source.for_cells(counts, group_key=group_key or None, sum_factor_key=sum_factor_key)
    draw(source, counts, output, samples=samples, seed=seed)


def _has_cells(counts: Path, posterior: Posterior) -> bool:
    """Tell whether the posterior's own cells are all in a file; without names, whether it has as many."""
    from streamsample.interop.table import open_table

    names = posterior.cells.names
    with open_table(counts) as table:
        return table.shape[0] == posterior.shape[1] if names is None else set(names) <= set(table.cells)


def draw(posterior: Posterior, counts: Path, output: Path, *, samples: str | None = None, seed: int = 0) -> None:
    """Summarise a stream over its cells under a bar, and draw it against the same cells' counts."""
    from streamsample.interop.counts import observed
    from streamsample.report.ppc import Observed, plot_ppc
    from streamsample.stream import CountStream
    from streamsample.summary import summarise

    seen = Observed.of(observed(posterior, counts))
    stream = CountStream(posterior, seed=seed).select(samples=samples)
    with Bar("summarise", "samples") as bar:
        summary = summarise(stream, progress=bar.update)
    plot_ppc(seen, summary, output, fitted=posterior.fitted)
    say(f"{output}: {seen.ncells:,} cells, {int(posterior.fitted.sum()):,} features, {len(summary.mean):,} samples")
