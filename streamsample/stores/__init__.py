"""Where slabs land: output I/O lives only here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from streamsample.geometry import Shape
from streamsample.stores.base import store_for

__all__ = ["OutputFacts", "describe", "store_for"]


@dataclass(frozen=True)
class OutputFacts:
    """What is known of a file of counts without reading the counts."""

    path: str
    """The file."""
    shape: Shape
    """(S, N, T)."""
    dtype: str
    """``uint8``, ``uint16`` or ``uint32``."""
    seed: int
    """Of the stream."""
    complete: bool
    """Whether every count is there."""
    posterior_digest: str
    """Which posterior they were made from."""
    nbytes: int
    """Size of the files together, in bytes."""
    nslabs: int
    """Lines of the table of checksums."""
    selection: dict[str, str | list[int]]
    """``sample_index``, ``cell_index`` and ``feature_index`` into the posterior."""
    streamsample_version: str
    """Which version wrote it."""


def describe(path: str | os.PathLike[str]) -> OutputFacts:
    """Read the manifest of a file of counts.

    Raises
    ------
    PlanError
        If the suffix is not one of ours.
    StoreError
        If the file is missing, or is no file of counts.
    """
    target = Path(path)
    store = store_for(target)
    manifest = store.open(target).manifest
    return OutputFacts(
        path=str(target),
        shape=manifest.shape,
        dtype=manifest.dtype,
        seed=manifest.seed,
        complete=manifest.complete,
        posterior_digest=manifest.posterior_digest,
        nbytes=sum(file.stat().st_size for file in store.files(target)),
        nslabs=len(manifest.checks),
        selection=manifest.selection.to_json(),
        streamsample_version=manifest.streamsample_version,
    )
