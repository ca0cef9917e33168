"""``streamsample import``: a posterior from another library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamsample.cli.common import number_of, say
from streamsample.cli.options import Overwrite
from streamsample.cli.outputs import check_output

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="ArviZ's .nc or .zarr, or a .pt of tensors.")]
Out = Annotated[Path, typer.Option("-o", "--output", metavar="POSTERIOR.h5", help="Where the posterior goes.")]
Mu = Annotated[str | None, typer.Option(metavar="V", help="Variable with the means, or a number.")]
Phi = Annotated[
    str | None, typer.Option(metavar="V", help="Variable with the total counts, or a number: inf is Poisson.")
]
Parameter = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=V",
        help="Other parametrisations: mean, total_count, concentration, theta, dispersion, probs, logits, n, p; rate, "
        "of Poisson counts; and of zero inflation: gate, gate_logits, psi, zi_probs, zi_logits. V may be a number. "
        "Repeatable.",
    ),
]
Alpha = Annotated[str | None, typer.Option(metavar="V", help="Variable with the factor of each group.")]
ZeroInflation = Annotated[
    str | None, typer.Option(metavar="V", help="Variable with the chance that a count is 0 whatever its mean.")
]
Beta = Annotated[str | None, typer.Option(metavar="V", help="Variable with the coefficients of the design.")]
Design = Annotated[
    list[str] | None,
    typer.Option(
        metavar="V",
        help="Variable of constant_data with the covariates; or, of --for-cells, a matrix in obsm, or a column of obs, "
        "repeatable.",
    ),
]
SizeFactor = Annotated[str | None, typer.Option(metavar="V", help="Variable of constant_data with the size factors.")]
Group = Annotated[str | None, typer.Option(metavar="V", help="Variable of constant_data with the groups.")]
NCells = Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of cells, where nothing else tells it.")]
SampleDims = Annotated[str, typer.Option(metavar="DIMS", help="Dimensions that are the samples: two, or one.")]
ForCells = Annotated[Path | None, typer.Option(metavar="X.h5ad", help="The cells, described by an AnnData file.")]
GroupKey = Annotated[list[str] | None, typer.Option(metavar="K", help="Its column of groups; repeatable.")]
SumFactorKey = Annotated[
    str | None, typer.Option(metavar="K", help="Its column of size factors [default: sum_factor, else the totals].")
]
Layer = Annotated[str | None, typer.Option(metavar="L", help="Its layer of counts [default: X].")]


def import_(
    source: Source,
    output: Out,
    mu: Mu = None,
    phi: Phi = None,
    parameter: Parameter = None,
    alpha: Alpha = None,
    zero_inflation: ZeroInflation = None,
    beta: Beta = None,
    design: Design = None,
    size_factor: SizeFactor = None,
    group: Group = None,
    n_cells: NCells = None,
    sample_dims: SampleDims = "chain,draw",
    for_cells: ForCells = None,
    group_key: GroupKey = None,
    sum_factor_key: SumFactorKey = None,
    layer: Layer = None,
    overwrite: Overwrite = False,
) -> None:
    """Take a posterior from another library.

    Draws in ArviZ's layout (PyMC, NumPyro, Stan...), or a file of torch tensors as bayesDREAM saves it.

    Example:
      streamsample import idata.nc -o posterior.h5 --mu mu --phi alpha --size-factor depth
      streamsample import idata.nc -o posterior.h5 --phi alpha --beta b --design X --parameter psi=psi
      streamsample import idata.nc -o posterior.h5 --parameter rate=lam --n-cells 1000
      streamsample import posterior_samples_technical_gene.pt -o posterior.h5 --for-cells X.h5ad --group-key lane
    """
    check_output(output, overwrite, suffixes=(".h5",), inputs=(source, for_cells))
    draws = {"mu": mu, "phi": phi, "alpha": alpha, "zero_inflation": zero_inflation, "beta": beta, **_pairs(parameter)}
    variables = {name: _number_or_name(text) for name, text in draws.items() if text is not None}
    described: dict[str, Any] = {"group_key": group_key, "sum_factor_key": sum_factor_key, "layer": layer}
    if source.suffix in (".pt", ".pth"):
        from streamsample.interop.torch_file import read_torch

        if variables or size_factor or group or design:
            raise typer.BadParameter("--mu, --phi and the like name variables of ArviZ; a .pt has names of its own")
        found = read_torch(source, for_cells, n_cells=n_cells, **described)
    elif for_cells is None:
        from streamsample.interop.arviz_groups import read_arviz

        if design and len(design) > 1:
            raise typer.BadParameter("--design is one variable of constant_data; columns of obs go with --for-cells")
        given = {"size_factor": size_factor, "group": group, "design": design[0] if design else None}
        found = read_arviz(source, variables, sample_dims.split(","), **given, n_cells=n_cells)
    else:
        from streamsample.interop.arviz_groups import read_arviz_for

        found = read_arviz_for(source, variables, sample_dims.split(","), for_cells, **described, design=design or None)
    found.check()
    found.save(output, overwrite=overwrite)
    say(f"{output}: {_sizes(found)}")


def _number_or_name(text: str) -> str | float:
    """Read a number, else take the text for a variable's name."""
    try:
        return float(text)
    except ValueError:
        return text


def _pairs(parameter: list[str] | None) -> dict[str, str]:
    """Read ``NAME=VARIABLE``."""
    pairs = [text.partition("=") for text in parameter or ()]
    for name, sign, variable in pairs:
        if not (name and sign and variable):
            raise typer.BadParameter(f"--parameter {name}{sign}{variable} is not NAME=VARIABLE")
    return {name: variable for name, _, variable in pairs}


def _sizes(posterior: Posterior) -> str:
    """Tell what a posterior is of."""
    nsamples, ncells, nfeatures = posterior.shape
    parts = [number_of(nsamples, "sample"), number_of(ncells, "cell"), number_of(nfeatures, "feature")]
    return f"{', '.join(parts)} in {number_of(posterior.facts.ngroups, 'group')}"
