"""``streamsample plan``: what a run would take, before it is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamsample.cli.common import print_json
from streamsample.cli.options import (
    Cells,
    Dtype,
    DtypeName,
    Features,
    ForCells,
    GroupKey,
    Json,
    Memory,
    MinibatchSize,
    SafetyFactor,
    Samples,
    Seed,
    SumFactorKey,
    Threads,
)
from streamsample.cli.streams import open_stream

if TYPE_CHECKING:
    from streamsample.budget import Budget
    from streamsample.planner import Plan

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
    seed: Seed = 0,
    samples: Samples = None,
    cells: Cells = None,
    features: Features = None,
    dtype: Dtype = "auto",
    memory: Memory = None,
    safety_factor: SafetyFactor = None,
    threads: Threads = None,
    minibatch_size: MinibatchSize = None,
    as_json: Json = False,
) -> None:
    """Show what a run would take.

    First what an in-memory Predictive would need for the same counts, then the stream's own plan. Writes nothing.

    Example:
      streamsample plan posterior.h5 -o counts.h5 --memory 64G
      streamsample plan --shape 1000,21761,28868 --groups 2 --memory 508800M
    """
    from streamsample.budget import Budget
    from streamsample.planner import plan as plan_stream

    budget = Budget.detect(memory=memory)
    if (posterior is None) == (shape is None):
        raise typer.BadParameter("give either POSTERIOR.h5 or --shape S,N,T")
    if shape is not None:
        made = _plan_shape(_sizes(shape), groups, output, budget, safety_factor, threads, minibatch_size, dtype)
    elif posterior is not None:
        stream = open_stream(
            posterior,
            for_cells,
            group_key,
            sum_factor_key,
            seed=seed,
            samples=samples,
            cells=cells,
            features=features,
        )
        groups = stream.posterior.facts.ngroups
        made = plan_stream(
            stream,
            output or Path("counts.h5"),
            budget=budget,
            minibatch_size=minibatch_size,
            safety_factor=safety_factor,
            threads=threads,
            dtype=dtype,
        )
    _print(made, groups, budget, as_json, minibatch_size=minibatch_size, safety_factor=safety_factor)


def _plan_shape(
    sizes: Shape,
    groups: int,
    output: Path | None,
    budget: Budget,
    safety_factor: float | None,
    threads: int | None,
    minibatch_size: int | None,
    dtype: DtypeName,
) -> Plan:
    """Plan for sizes alone; without an output nothing is asked of any disk."""
    from streamsample.memory_model import ParameterFacts
    from streamsample.planner import decide
    from streamsample.target import TargetFacts

    target = TargetFacts("counts.h5", ".h5") if output is None else TargetFacts.gather(output)
    return decide(
        ParameterFacts(*sizes, groups),
        budget,
        target,
        minibatch_size=minibatch_size,
        safety_factor=safety_factor,
        threads=threads,
        dtype=dtype,
    )


def _print(made: Plan, groups: int, budget: Budget, as_json: bool, **options: Any) -> None:
    """Print the published estimate, then the plan."""
    from streamsample.errors import BudgetError
    from streamsample.estimate import predictive_estimate
    from streamsample.report.memory import predictive_lines

    nsamples, ncells, nfeatures = made.shape
    if not as_json:
        print(*predictive_lines(ncells, nfeatures, groups, nsamples, budget, **options), "", sep="\n")
        print(made.explain())
        return
    try:
        estimate = dataclasses.asdict(
            predictive_estimate(ncells, nfeatures, groups, nsamples, budget=budget, **options)
        )
    except BudgetError as error:
        estimate = {"error": str(error)}
    print_json({"predictive": estimate, "plan": made.to_json()})
