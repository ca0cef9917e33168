"""``streamsample plan``: what a run would take, before it is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamsample.cli.common import detect_budget, print_json, tell_predictive
from streamsample.cli.options import (
    Cells,
    Compression,
    DesignKey,
    Dtype,
    Features,
    ForCells,
    GroupKey,
    Json,
    Layer,
    Memory,
    MinibatchSize,
    OptimizeFor,
    SafetyFactor,
    Samples,
    Seed,
    SumFactorKey,
    Threads,
)
from streamsample.cli.streams import OtherCells, Part, open_stream
from streamsample.target import TargetFacts

if TYPE_CHECKING:
    from streamsample.budget import Budget
    from streamsample.planner import Plan
    from streamsample.stream import CountStream

Shape = tuple[int, int, int]


def _parse_shape(text: str | None) -> str | None:
    """Check the shape where it is typed, so that a wrong one is an error of usage."""
    if text is not None:
        _sizes(text)
    return text


def _sizes(text: str) -> Shape:
    parts = text.replace("_", "").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is not a shape: write S,N,T, for example 1000,21761,28868")
    return int(parts[0]), int(parts[1]), int(parts[2])


MaybePosterior = Annotated[
    Path | None, typer.Argument(metavar="POSTERIOR.h5", help="Parameter draws; or give --shape instead.")
]
Out = Annotated[Path | None, typer.Option("-o", "--output", metavar="COUNTS.h5", help="Where the counts would go.")]
ShapeText = Annotated[
    str | None,
    typer.Option(metavar="S,N,T", callback=_parse_shape, help="Samples, cells and features, without a posterior."),
]
Groups = Annotated[int, typer.Option(metavar="C", min=1, help="Groups, with --shape.")]


def plan(
    posterior: MaybePosterior = None,
    output: Out = None,
    shape: ShapeText = None,
    groups: Groups = 1,
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
    as_json: Json = False,
) -> None:
    """Show what a run would take.

    The stream's own plan, and the ways to keep the result, with their sizes and times; before these, on standard
    error, what an in-memory Predictive would need for the same counts. Writes nothing.

    Example:
      streamsample plan posterior.h5 -o counts.h5 --memory 64G
      streamsample plan --shape 1000,21761,28868 --groups 2 --memory 508800M
    """
    others = OtherCells(for_cells, group_key, sum_factor_key, layer, design)
    others.check()
    if (posterior is None) == (shape is None):
        raise typer.BadParameter("give either POSTERIOR.h5 or --shape S,N,T")
    budget = detect_budget(memory)
    options: dict[str, Any] = {"minibatch_size": minibatch_size, "safety_factor": safety_factor}
    if shape is not None:
        target = TargetFacts("counts.h5", ".h5", "any disk") if output is None else TargetFacts.gather(output)
        from streamsample.chunking import Storage

        storage = Storage(compression, optimize_for)
        made = _plan_shape(
            _sizes(shape), groups, target, budget, threads=threads, dtype=dtype, storage=storage, **options
        )
    elif posterior is not None:
        target = TargetFacts.gather(output or Path("counts.h5"))
        stream = open_stream(posterior, others, Part(samples, cells, features), seed)
        groups = stream.posterior.facts.ngroups
        stored = {"compression": compression, "optimize_for": optimize_for}
        made = _plan_stream(stream, target, budget, threads=threads, dtype=dtype, **stored, **options)
    _print(made, groups, budget, as_json, **options)
    target.check_room(made.needed_nbytes, made.nfiles)


def _plan_shape(sizes: Shape, groups: int, target: TargetFacts, budget: Budget, **options: Any) -> Plan:
    """Plan without a posterior."""
    from streamsample.memory_model import ParameterFacts
    from streamsample.planner import decide

    return decide(ParameterFacts(*sizes, groups), budget, target, check_room=False, **options)


def _plan_stream(stream: CountStream, target: TargetFacts, budget: Budget, **options: Any) -> Plan:
    """Plan for a posterior; whether the disk has room is asked after the plan is shown."""
    from streamsample.planner import plan

    return plan(stream, target.path, budget=budget, check_room=False, **options)


def _print(made: Plan, groups: int, budget: Budget, as_json: bool, **options: Any) -> None:
    """Print the published estimate, then the plan."""
    from streamsample.errors import BudgetError
    from streamsample.estimate import predictive_estimate
    from streamsample.keeping import table as ways_table

    if not as_json:
        tell_predictive(made, groups, budget, **options)
        print(made.explain(), ways_table(made.ways()), sep="\n", flush=True)
        return
    nsamples, ncells, nfeatures = made.shape
    try:
        estimate = dataclasses.asdict(
            predictive_estimate(ncells, nfeatures, groups, nsamples, budget=budget, **options)
        )
    except BudgetError as error:
        estimate = {"error": str(error)}
    print_json({"predictive": estimate, "plan": made.to_json()})
