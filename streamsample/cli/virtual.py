"""``streamsample virtual``: a file that stands for counts, and computes those that are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamsample.cli.common import say
from streamsample.cli.options import (
    Cells,
    DesignKey,
    Features,
    ForCells,
    GroupKey,
    Layer,
    Overwrite,
    PosteriorFile,
    Samples,
    Seed,
    SumFactorKey,
)
from streamsample.cli.outputs import check_output
from streamsample.cli.streams import OtherCells, Part, open_stream
from streamsample.units import format_bytes, format_count

Out = Annotated[Path, typer.Option("-o", "--output", metavar="COUNTS.virtual.h5", help="Where it goes: .h5.")]


def virtual(
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
    overwrite: Overwrite = False,
) -> None:
    """Write a virtual dataset.

    It holds parameters, cells and the seed, opens in xarray and Dask as all counts, and computes those that are read:
    the same that `sample` writes.

    Example:
      streamsample virtual posterior.h5 -o counts.virtual.h5 --seed 0
    """
    check_output(output, overwrite, suffixes=(".h5",), inputs=(posterior, for_cells))
    from streamsample.virtual import save_virtual

    others = OtherCells(for_cells, group_key, sum_factor_key, layer, design)
    stream = open_stream(posterior, others, Part(samples, cells, features), seed)
    save_virtual(stream, output, overwrite=overwrite)
    size = format_bytes(output.stat().st_size)
    say(
        f"{output}: {size} for {format_count(stream.size)} counts {list(stream.shape)}; "
        f'open it with xarray.open_dataset("{output.name}", engine="streamsample") or streamsample.open'
    )
