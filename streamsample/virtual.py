"""A virtual dataset: a ``posterior.h5`` that says which counts it stands for, and nothing of their size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamsample.errors import OutputExists, PlanError, StoreError
from streamsample.geometry import AXES, Selection
from streamsample.parameters import STREAM_VERSIONS
from streamsample.stream import CountStream

if TYPE_CHECKING:
    import h5py

GROUP = "stream"
"""Of the posterior's file; holds `VERSION`, `SEED` and the three selections, each ``start:stop:step`` or indices."""

SUFFIX = ".h5"

SEED, VERSION = "seed", "stream_version"


def save_virtual(stream: CountStream, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write what it takes to compute a stream's counts anywhere: its draws, cells, seed and selection.

    The file is a ``posterior.h5`` with one more group, so that `Posterior.open` reads it as well; `streamsample.open`
    gives the stream back.

    Parameters
    ----------
    stream
        The counts.
    path
        The file; its name must end in ``.h5``, by which `streamsample.open` knows it.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    OutputExists, StoreError
        If the file may not or can't be written.
    PlanError
        If the suffix is another.
    """
    import h5py

    target = Path(path)
    if target.suffix != SUFFIX:
        raise PlanError(
            f"{target.name} has the suffix {target.suffix!r}; a virtual dataset is HDF5: write for example "
            f"{target.stem}{SUFFIX}"
        )
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} exists; give overwrite=True (--overwrite) to replace it")
    making = target.with_name(f"{target.name}.making")
    try:
        stream.posterior.save(making, overwrite=True)
        with h5py.File(making, "r+") as file:
            group = file.create_group(GROUP)
            group.attrs[SEED], group.attrs[VERSION] = np.uint64(stream.seed), stream.posterior.facts.stream_version
            for axis, index in stream.selection.to_json().items():
                if isinstance(index, str):
                    group.attrs[axis] = index
                else:  # attributes end at 64 KB
                    group[axis] = np.array(index, dtype=np.int64)
        with making.open("rb+") as raw:
            os.fsync(raw.fileno())
        os.replace(making, target)
    finally:
        making.unlink(missing_ok=True)


def is_virtual(path: Path) -> bool:
    """Tell whether a file is a virtual dataset."""
    import h5py

    if path.suffix != SUFFIX or not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return GROUP in file and str(file.attrs.get("format", "")).startswith("streamsample-posterior")


def open_virtual(path: Path) -> CountStream:
    """Open a virtual dataset; no counts are computed.

    Raises
    ------
    StoreError
        If it follows another definition of the stream, or is damaged.
    PosteriorError
        If the draws in it are no posterior.
    """
    import h5py

    from streamsample.posterior import Posterior

    with h5py.File(path, "r") as file:
        group = file[GROUP]
        try:
            seed, version = int(group.attrs[SEED]), int(group.attrs[VERSION])
            selection = Selection.from_json({f"{axis}_index": _index(group, f"{axis}_index") for axis in AXES})
        except (KeyError, ValueError) as error:
            raise StoreError(f"{path}: its group {GROUP!r} is damaged ({type(error).__name__}: {error})") from error
    if version not in STREAM_VERSIONS:
        known = f"{STREAM_VERSIONS[0]} to {STREAM_VERSIONS[-1]}"
        raise StoreError(f"{path} stands for counts of stream version {version}; this program makes {known}")
    posterior = Posterior.open(path)
    if version != posterior.facts.stream_version:
        raise StoreError(
            f"{path} stands for counts of stream version {version}, but its draws are of version "
            f"{posterior.facts.stream_version}: they were changed afterwards"
        )
    return CountStream(posterior, seed, selection)


def _index(group: h5py.Group, name: str) -> str | list[int]:
    """Read one selection."""
    return str(group.attrs[name]) if name in group.attrs else group[name][:].tolist()
