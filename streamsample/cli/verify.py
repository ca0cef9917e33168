"""``streamsample verify``: compute some of a file again and compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamsample.cli.common import number_of, one_line, print_json
from streamsample.cli.options import (
    DesignKey,
    ForCells,
    GroupKey,
    Json,
    Layer,
    SumFactorKey,
)
from streamsample.cli.progress import Bar
from streamsample.cli.streams import OtherCells, open_posterior
from streamsample.units import format_count, format_seconds

if TYPE_CHECKING:
    from streamsample.posterior import Posterior
    from streamsample.run import Progress
    from streamsample.verifier import Report

CountsOutput = Annotated[
    Path, typer.Argument(metavar="COUNTS.h5", help="Counts that `sample` wrote: .h5, .zarr or .npy.")
]
From = Annotated[Path, typer.Option("--posterior", metavar="POSTERIOR.h5", help="The posterior they were made from.")]
Fraction = Annotated[float, typer.Option(metavar="F", min=0, max=1, help="Share of the slabs to compute again.")]
Chance = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Which part that is [default: another each time].")
]
Full = Annotated[bool, typer.Option("--full", help="Compute everything again.")]


def verify(
    counts: CountsOutput,
    posterior: From,
    fraction: Fraction = 0.01,
    full: Full = False,
    seed: Chance = None,
    for_cells: ForCells = None,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    layer: Layer = None,
    design: DesignKey = None,
    as_json: Json = False,
) -> None:
    """Check a file of counts.

    Checks every checksum, and computes a random part of the counts again. Give --for-cells and the options that
    go with it as they were given to `sample`.

    Example:
      streamsample verify counts.h5 --posterior posterior.h5 --fraction 0.1
    """
    others = OtherCells(for_cells, group_key, sum_factor_key, layer, design)
    others.check()
    try:
        report = check(counts, open_posterior(posterior, others), fraction=fraction, full=full, seed=seed)
    except Exception as error:
        if as_json:
            print_json({"ok": False, "path": str(counts), "error": one_line(error)})
        raise
    if as_json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        print(describe(report))


def check(counts: Path, posterior: Posterior, **options: Any) -> Report:
    """Verify under a bar; `options` are those of `streamsample.verify`."""
    from streamsample.verifier import verify

    with Bar(f"verify {counts.name}") as bar:

        def show(event: Progress) -> None:
            bar.update(event.counts_done, event.counts_total)

        return verify(counts, posterior, progress=show, **options)


def describe(report: Report) -> str:
    """Say in a line what was checked."""
    checksums = number_of(report.slabs_checked, "checksum")
    twin = f"{report.counts_by_twin:,} by the twin" if report.twin_built else "the twin is not built"
    return (
        f"{report.path}: right. {checksums} of {format_count(report.counts_total)} counts, "
        f"{format_count(report.counts_compared)} counts computed again ({twin}), in {format_seconds(report.seconds)}"
    )
