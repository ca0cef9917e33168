"""Where slabs land: output I/O lives only here."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from streamsample.chunking import Chunking
from streamsample.errors import StoreError
from streamsample.geometry import Shape
from streamsample.stores.base import store_for
from streamsample.stores.journal import read_journal
from streamsample.stores.manifest import Manifest
from streamsample.stores.places import Places, length_of
from streamsample.target import taken_nbytes

__all__ = ["OutputFacts", "describe", "describe_unfinished", "kept_chunking", "store_for"]


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
    stream_version: int
    """Which definition of the stream they follow."""
    posterior_digest: str
    """Which posterior they were made from."""
    nbytes: int
    """Size of the files together, in bytes; of an unfinished output, what it takes on the disk."""
    bytes_a_count: float | None
    """Size by number of counts; None as long as it is not finished."""
    written: float
    """Share of the counts that is there: 1 where it is complete."""
    nslabs: int
    """Lines of the table of checksums, or of the journal."""
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
    nbytes = sum(length_of(file) for file in store.files(target))
    return _facts(target, manifest, nbytes, 1.0, len(manifest.checks))


def describe_unfinished(path: str | os.PathLike[str]) -> OutputFacts | None:
    """Read the journal of an output that is not finished; None where there is none.

    Parameters
    ----------
    path
        The name that it will have, or its partial name.

    Raises
    ------
    PlanError
        If the suffix is not one of ours.
    StoreError
        If the journal is damaged.
    """
    target = Path(path)
    if target.suffix == ".partial":
        target = target.with_suffix("")
    places = Places(store_for(target), target)
    record = read_journal(places.journal)
    if record is None:
        return None
    nbytes = taken_nbytes(places.partial[0])
    return _facts(target, record.manifest, nbytes, record.share, len(record.lines))


def kept_chunking(path: str | os.PathLike[str]) -> Chunking | None:
    """Read how an output that is there, finished or not, is cut into chunks, for a plan that continues it.

    Returns
    -------
    Chunking or None
        None where nothing is there that can be read, or its counts are stored as they are. What can't be read is the
        run's to refuse, or to replace if it may.

    Raises
    ------
    PlanError
        If the suffix is not one of ours.
    """
    target = Path(path)
    store = store_for(target)
    try:
        record = read_journal(Places(store, target).journal)
        if record is not None:
            return Chunking.of_layout(record.manifest.layout)
        return Chunking.of_layout(store.open(target).manifest.layout) if target.exists() else None
    except StoreError:
        return None


def _facts(path: Path, manifest: Manifest, nbytes: int, written: float, nslabs: int) -> OutputFacts:
    ncounts = math.prod(manifest.shape)
    return OutputFacts(
        path=str(path),
        shape=manifest.shape,
        dtype=manifest.dtype,
        seed=manifest.seed,
        complete=manifest.complete,
        stream_version=manifest.stream_version,
        posterior_digest=manifest.posterior_digest,
        nbytes=nbytes,
        bytes_a_count=round(nbytes / ncounts, 4) if manifest.complete else None,
        written=round(written, 4),
        nslabs=nslabs,
        selection=manifest.selection.to_json(),
        streamsample_version=manifest.streamsample_version,
    )
