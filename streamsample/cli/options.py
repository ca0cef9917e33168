"""Arguments and options that several commands take, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from streamsample.units import MIB, parse_bytes


def _size(text: str | None) -> str | None:
    """Refuse a size that can't be read; keep the text, which the budget cites."""
    if text is not None:
        try:
            nbytes = parse_bytes(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if nbytes < MIB:
            raise typer.BadParameter(f"{text} is {nbytes:,} bytes; if the unit is missing, write for example {text}G")
    return text


def _fraction(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value:g} is not above 0 and at most 1")
    return value


PosteriorFile = Annotated[Path, typer.Argument(metavar="POSTERIOR.h5", help="Parameter draws, as `fit` saves them.")]
CountsFile = Annotated[Path, typer.Argument(metavar="COUNTS.h5ad", help="Observed counts, an AnnData file.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output; the old one stays until then.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an unfinished output; start if there is none; exit 0 if complete.")
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Go on although another process seems to write the output: it is dead.")
]
Compression = Annotated[
    str,
    typer.Option(
        metavar="CODEC",
        help="none; or, for .h5, gzip, which anyone reads, or zstd or lz4, which are faster and need hdf5plugin; for "
        ".zarr zstd or lz4. auto is zstd for .zarr, none for others.",
    ),
]
OptimizeFor = Annotated[
    Literal["sample", "cell", "feature"] | None,
    typer.Option(
        "--optimize-for",
        help="Shape of compressed chunks: for reading one cell, or one feature, of all samples; or sample, the "
        "smallest file, for reading whole samples, and fair to both [default: sample, or as it is continued].",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the counts; the same seed gives the same bytes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        callback=_size,
        help="State the budget, against whatever is detected: 64G is binary as SLURM's, 64GB is decimal.",
    ),
]
SafetyFactor = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        callback=_fraction,
        help="Use at most this fraction of the budget [default: 0.7 of an allocation, 0.35 on a shared node].",
    ),
]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads [default: every CPU of the budget].")]
MinibatchSize = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Samples in work at a time [default: as many as fit].")
]
DtypeName = Literal["auto", "uint8", "uint16", "uint32"]
Dtype = Annotated[DtypeName, typer.Option(help="Integer type of the counts; auto is the narrowest that holds all.")]

Samples = Annotated[
    str | None,
    typer.Option(
        metavar="A:B",
        help="Samples A to B-1, counted from 0; also A:B:STEP; a single A is one sample; or a file of numbers "
        "[default: all].",
    ),
]
Cells = Annotated[str | None, typer.Option(metavar="A:B", help="Cells, likewise; or a file of names [default: all].")]
Features = Annotated[
    str | None, typer.Option(metavar="A:B", help="Features, likewise; or a file of names [default: all].")
]

ForCells = Annotated[
    Path | None,
    typer.Option(metavar="X.h5ad", help="Apply the parameters to the cells of this file; genes are joined by name."),
]
GroupKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="K", help="Column of obs in that file that names the technical group; repeatable [default: the fit's]."
    ),
]
SumFactorKey = Annotated[
    str | None,
    typer.Option(metavar="K", help="Column of obs with each cell's depth [default: the fit's, else the totals]."),
]
DesignKey = Annotated[
    list[str] | None,
    typer.Option(
        "--design",
        metavar="K",
        help="Matrix of obsm in that file that holds the posterior's covariates, or a column of obs; repeatable "
        "[default: the columns of their names].",
    ),
]
Layer = Annotated[
    str | None, typer.Option(metavar="L", help="Layer of that file with the counts; X is X [default: the fit's].")
]
