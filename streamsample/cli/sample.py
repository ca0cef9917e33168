"""``streamsample sample``: stream counts into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamsample.cli.common import detect_budget, say
from streamsample.cli.options import (
    Cells,
    Dtype,
    Features,
    ForCells,
    GroupKey,
    Layer,
    Memory,
    MinibatchSize,
    Overwrite,
    PosteriorFile,
    SafetyFactor,
    Samples,
    Seed,
    SumFactorKey,
    Threads,
)
from streamsample.cli.outputs import check_output
from streamsample.cli.progress import Bar
from streamsample.cli.streams import OtherCells, Part, open_stream
from streamsample.target import STORES
from streamsample.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from streamsample.planner import Plan
    from streamsample.stream import CountStream

Out = Annotated[Path, typer.Option("-o", "--output", metavar="COUNTS.h5", help="Where the counts go: .h5 or .npy.")]


def sample(
    posterior: PosteriorFile,
    output: Out,
    for_cells: ForCells = None,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    layer: Layer = None,
    seed: Seed = 0,
    samples: Samples = None,
    cells: Cells = None,
    features: Features = None,
    dtype: Dtype = "auto",
    memory: Memory = None,
    safety_factor: SafetyFactor = None,
    threads: Threads = None,
    minibatch_size: MinibatchSize = None,
    overwrite: Overwrite = False,
) -> None:
    """Stream counts into a file.

    Posterior-predictive counts [samples, cells, features], piece by piece, within the memory that may be used.

    Example:
      streamsample sample posterior.h5 -o counts.h5 --seed 0 --samples 0:500 --memory 64G
    """
    check_output(output, overwrite, suffixes=STORES, inputs=(posterior, for_cells))
    others = OtherCells(for_cells, group_key, sum_factor_key, layer)
    others.check()
    from streamsample.planner import plan

    stream = open_stream(posterior, others, Part(samples, cells, features), seed)
    made = plan(
        stream,
        output,
        budget=detect_budget(memory),
        minibatch_size=minibatch_size,
        safety_factor=safety_factor,
        threads=threads,
        dtype=dtype,
    )
    say(made.explain(), "")
    write(stream, output, made, overwrite=overwrite)


def write(stream: CountStream, output: Path, plan: Plan, *, overwrite: bool) -> None:
    """Run a plan with a bar, and say what has come of it."""
    from streamsample.run import Progress, sample

    last: Progress | None = None
    with Bar(output.name) as bar:

        def show(event: Progress) -> None:
            nonlocal last
            last = event
            bar.update(event.counts_done, event.counts_total)

        sample(stream, output, plan=plan, overwrite=overwrite, progress=show)
    size = output.stat().st_size
    text = f"{output}: {format_count(plan.ncounts)} counts, {format_bytes(size)}"
    if last is not None:
        text += f" in {format_seconds(last.seconds)} ({format_count(plan.ncounts / max(last.seconds, 1e-9))} counts/s)"
    say(text)
