"""``streamsample fit``: from observed counts to a posterior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streamsample.cli.common import detect_budget, say
from streamsample.cli.options import CountsFile, Memory, MinibatchSize, Overwrite, SafetyFactor
from streamsample.cli.outputs import check_output
from streamsample.cli.progress import Bar
from streamsample.units import format_bytes

if TYPE_CHECKING:
    from streamsample.fit import TechnicalModel
    from streamsample.posterior import Posterior

Out = Annotated[Path, typer.Option("-o", "--output", metavar="POSTERIOR.h5", help="Where the parameter draws go.")]
Groups = Annotated[
    list[str], typer.Option("--group-key", metavar="K", help="Column of obs with the technical group; repeatable.")
]
SumFactorKey = Annotated[
    str | None,
    typer.Option(metavar="K", help="Column of obs with each cell's depth [default: sum_factor, else the totals]."),
]
Reference = Annotated[str | None, typer.Option(metavar="NAME", help="Group whose alpha is 1 [default: the largest].")]
Where = Annotated[
    str | None, typer.Option(metavar="EXPR", help="Cells to fit, as a pandas query of obs: 'target == \"x\"'.")
]
Layer = Annotated[str | None, typer.Option(metavar="L", help="Layer that holds the counts [default: X].")]
Samples = Annotated[int, typer.Option("--nsamples", metavar="N", min=1, help="Parameter draws to make.")]
Steps = Annotated[
    int | None, typer.Option("--niters", metavar="N", min=1, help="Most steps of the fit [default: 400].")
]
Rate = Annotated[
    float | None, typer.Option("--lr", metavar="X", help="Learning rate of the first step [default: 0.05].")
]
Tolerance = Annotated[
    float, typer.Option(metavar="X", min=0, help="Stop when the smoothed loss changes less than this; 0: every step.")
]
Extreme = Annotated[
    Literal["error", "drop-feature", "clip"], typer.Option(help="What to do with draws outside the stream's domain.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where torch computes: cpu, cuda.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the fit and of the draws.")]


def fit(
    counts: CountsFile,
    output: Out,
    group_key: Groups,
    reference: Reference = None,
    sum_factor_key: SumFactorKey = None,
    where: Where = None,
    layer: Layer = None,
    nsamples: Samples = 1000,
    niters: Steps = None,
    lr: Rate = None,
    tolerance: Tolerance = 1e-4,
    on_extreme: Extreme = "error",
    minibatch_size: MinibatchSize = None,
    memory: Memory = None,
    safety_factor: SafetyFactor = None,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Fit counts, save parameter draws.

    The technical model: a negative binomial whose mean is mu x alpha of the cell's group x its sum factor.

    Example:
      streamsample fit counts.h5ad -o posterior.h5 --group-key bio_rep --where 'target == "non-targeting"'
    """
    check_output(output, overwrite, suffixes=(".h5",), inputs=(counts,))
    from streamsample.fit import TechnicalModel, plan  # noqa: F401 (torch's libraries count against RLIMIT_AS)

    budget = detect_budget(memory)
    model = TechnicalModel.from_anndata(counts, group_key=group_key, reference=reference, where=where, layer=layer)
    posterior = fit_with_bar(
        model,
        sum_factor_col=sum_factor_key or "sum_factor",
        tolerance=tolerance,
        nsamples=nsamples,
        niters=niters,
        lr=lr,
        on_extreme=on_extreme,
        minibatch_size=minibatch_size,
        safety_factor=safety_factor,
        budget=budget,
        device=device,
        seed=seed,
    )
    posterior.save(output, overwrite=overwrite)
    nsamples, ncells, nfeatures = posterior.shape
    size = format_bytes(output.stat().st_size)
    say(f"{output}: {nsamples:,} draws for {ncells:,} cells x {nfeatures:,} features, {size}")
    say(f"next: streamsample sample {output} -o counts.h5")


def fit_with_bar(model: TechnicalModel, **options: Any) -> Posterior:
    """Fit under a bar."""
    with Bar("fit", "steps") as bar:

        def show(step: int, steps: int, loss: float) -> None:
            bar.update(step, steps, f"loss {loss:,.0f}")

        return model.fit_technical(progress=show, **options)
