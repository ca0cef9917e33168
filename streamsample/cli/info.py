"""``streamsample info``: what a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamsample.cli.common import print_json
from streamsample.cli.options import Json
from streamsample.errors import StoreError
from streamsample.target import FOLDERS

if TYPE_CHECKING:
    from streamsample.interop.describe import Description

AnyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A posterior, counts (.h5, .zarr, .npy) or an AnnData .h5ad.")
]


def info(path: AnyFile, as_json: Json = False) -> None:
    """Show what a file holds.

    Of an AnnData file: layers, candidate columns of groups and size factors, and the command that fits it.

    Example:
      streamsample info counts.h5ad
      streamsample info posterior.h5 --json
    """
    name = path.with_suffix("") if path.suffix == ".partial" else path
    if path.is_dir() and name.suffix not in FOLDERS:
        raise StoreError(f"{path} is a folder; give a file")
    if path.suffix == ".h5ad":
        from streamsample.interop.describe import describe

        found = describe(path)
        facts, lines = {"kind": "anndata", **found.to_json()}, _lines(found)
    else:
        from streamsample.report.files import file_facts, file_lines

        facts = file_facts(path)
        lines = iter(file_lines(facts))
    if as_json:
        print_json(facts)
    else:
        print(*lines, sep="\n")


def _lines(found: Description) -> Iterator[str]:
    """Describe an AnnData file for people."""
    yield f"{found.path}: {found.ncells:,} cells x {found.nfeatures:,} features"
    for layer in found.layers:
        kind = "counts" if layer.is_counts else "not counts"
        yield f"layer {layer.name}: {kind} ({layer.dtype}, {'sparse' if layer.is_sparse else 'dense'})"
    for key, sizes in found.groups.items():
        shown = ", ".join(f"{name} ({size:,})" for name, size in list(sizes.items())[:6])
        more = f", and {len(sizes) - 6} more" if len(sizes) > 6 else ""
        yield f"group column {key}: {shown}{more}"
    yield found.advice()
    columns = ", ".join(found.size_factors) or "none"
    yield f"size factor columns: {columns} (fit takes the column sum_factor if it is there, else the totals)"
    yield f"to fit it: {found.command()}"
