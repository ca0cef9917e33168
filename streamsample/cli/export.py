"""``streamsample export``: counts into another tool's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamsample.cli.common import number_of, say
from streamsample.cli.options import Overwrite, Samples
from streamsample.cli.outputs import check_output
from streamsample.cli.streams import Part
from streamsample.units import format_bytes

CountsOutput = Annotated[Path, typer.Argument(metavar="COUNTS.h5", help="Counts that `sample` or `virtual` wrote.")]
To = Annotated[Path, typer.Option("--to", metavar="FILE", help="Where they go: .h5ad, .nc (netCDF 4) or .npy.")]

SUFFIXES = (".h5ad", ".nc", ".npy")


def export(counts: CountsOutput, to: To, samples: Samples = None, overwrite: Overwrite = False) -> None:
    """Copy counts into another tool's file.

    An .h5ad gets one sparse layer a sample (ppc_0, ppc_1...); choose a few.

    Example:
      streamsample export counts.h5 --to ppc.h5ad --samples 0:10
    """
    check_output(to, overwrite, suffixes=SUFFIXES, inputs=(counts,))
    from streamsample.geometry import resolve
    from streamsample.stored import open

    found = open(counts)
    Part(samples).check(found.shape)
    found.export(to, samples=samples, overwrite=overwrite)
    chosen = resolve(samples, len(found), "sample")
    say(f"{to}: {number_of(chosen.size, 'sample')}, {format_bytes(to.stat().st_size)}")
