"""Whether an output may be written, asked before hours of work."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from streamsample.errors import OutputExists, PlanError, StoreError
from streamsample.target import FOLDERS, check_folder


def check_output(output: Path, overwrite: bool, *, suffixes: Collection[str], inputs: Iterable[Path | None]) -> None:
    """Refuse, before any work, an output that can't be written or must not be replaced.

    Parameters
    ----------
    output
        The final name.
    overwrite
        Whether a file of that name may be replaced.
    suffixes
        Those that the command writes.
    inputs
        Files that the command reads; not even `overwrite` replaces one of these.

    Raises
    ------
    OutputExists
        If it is an input, or is there and may not be replaced.
    PlanError
        If the suffix is not one of `suffixes`.
    StoreError
        If it is a folder, or its folder is missing or read-only.
    """
    for given in inputs:
        if given is not None and given.exists() and output.exists() and output.samefile(given):
            raise OutputExists(f"{output} is read by this very command, and is not replaced; choose another name")
    if output.suffix not in suffixes:
        raise PlanError(f"{output.name} has the suffix {output.suffix!r}; this command writes {' or '.join(suffixes)}")
    if output.is_dir() and output.suffix not in FOLDERS:
        raise StoreError(f"{output} is a folder; choose another name")
    if output.exists() and not overwrite:
        raise OutputExists(f"{output} exists; give --overwrite to replace it")
    check_folder(output)
