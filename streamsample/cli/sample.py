"""``streamsample sample``: stream counts into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamsample.cli.common import detect_budget, say, tell_predictive
from streamsample.cli.options import (
    BreakLock,
    Cells,
    Compression,
    DesignKey,
    Dtype,
    Features,
    ForCells,
    GroupKey,
    Layer,
    Memory,
    MinibatchSize,
    OptimizeFor,
    Overwrite,
    PosteriorFile,
    Resume,
    SafetyFactor,
    Samples,
    Seed,
    SumFactorKey,
    Threads,
)
from streamsample.cli.outputs import check_output
from streamsample.cli.progress import Bar, describe_run
from streamsample.cli.streams import OtherCells, Part, open_stream
from streamsample.errors import Interrupted, how_to_continue
from streamsample.stopping import Stopper, stop_on_signals
from streamsample.target import STORES
from streamsample.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from streamsample.planner import Plan
    from streamsample.stream import CountStream

Out = Annotated[
    Path, typer.Option("-o", "--output", metavar="COUNTS.h5", help="Where the counts go: .h5, .zarr or .npy.")
]


def sample(
    posterior: PosteriorFile,
    output: Out,
    for_cells: ForCells = None,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    layer: Layer = None,
    design: DesignKey = None,
    seed: Seed = 0,
    samples: Samples = None,
    cells: Cells = None,
    features: Features = None,
    dtype: Dtype = "auto",
    compression: Compression = "auto",
    optimize_for: OptimizeFor = None,
    memory: Memory = None,
    safety_factor: SafetyFactor = None,
    threads: Threads = None,
    minibatch_size: MinibatchSize = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    break_lock: BreakLock = False,
) -> None:
    """Stream counts into a file.

    Posterior-predictive counts [samples, cells, features], piece by piece, within the memory that may be used. On
    SIGTERM, SIGINT or SIGUSR1, before the end of a SLURM job, and where the disk is full, it stops with exit code 75;
    the same command with --resume continues, with other --memory or --threads if need be.

    Example:
      streamsample sample posterior.h5 -o counts.h5 --seed 0 --samples 0:500 --memory 64G
    """
    check_output(output, overwrite or resume, suffixes=STORES, inputs=(posterior, for_cells))
    others = OtherCells(for_cells, group_key, sum_factor_key, layer, design)
    others.check()
    stopper = Stopper()
    try:
        with stop_on_signals(stopper):
            from streamsample.planner import plan
            from streamsample.stores import kept_chunking

            stream = open_stream(posterior, others, Part(samples, cells, features), seed)
            budget = detect_budget(memory)
            made = plan(
                stream,
                output,
                budget=budget,
                minibatch_size=minibatch_size,
                safety_factor=safety_factor,
                threads=threads,
                dtype=dtype,
                check_room=not resume,  # a complete output needs none
                compression=compression,
                optimize_for=optimize_for,
                kept=kept_chunking(output) if resume else None,
            )
            tell_predictive(made, stream.posterior.facts.ngroups, budget, safety_factor=safety_factor)
            say(made.explain(), "")
            write(stream, output, made, overwrite=overwrite, resume=resume, break_lock=break_lock, stopper=stopper)
    except KeyboardInterrupt:
        raise Interrupted(f"{output}: interrupted; give {how_to_continue(overwrite)} to continue") from None


def write(stream: CountStream, output: Path, plan: Plan, **options: Any) -> None:
    """Run a plan with a bar, and say what has come of it; `options` are those of `streamsample.sample`."""
    from streamsample import stores
    from streamsample.run import Progress, sample

    last: Progress | None = None
    with Bar(output.name, describe=describe_run(plan, lambda: last)) as bar:

        def show(event: Progress) -> None:
            nonlocal last
            last = event
            bar.update(event.counts_done, event.counts_total)

        sample(stream, output, plan=plan, progress=show, **options)
    size = stores.describe(output).nbytes
    text = f"{output}: {format_count(plan.ncounts)} counts, {format_bytes(size)}"
    if last is not None:
        speed = (last.counts_done - last.counts_before) / max(last.seconds, 1e-9)
        text += f" in {format_seconds(last.seconds)} ({format_count(speed)} counts/s)"
    say(text)
