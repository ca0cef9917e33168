"""Counts into other tools' files, a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from streamsample.counts import Counts
from streamsample.errors import OutputExists, PlanError, StoreError
from streamsample.geometry import AXES, IndexArray, resolve
from streamsample.interop.extras import need
from streamsample.interop.lazy import VARIABLE, coordinates

Piece = tuple[slice, slice, slice]


def export(counts: Counts, path: str | os.PathLike[str], *, samples: Any = None, overwrite: bool = False) -> None:
    """Copy counts into another tool's file; see `Counts.export`."""
    target = Path(path)
    if target.suffix not in WRITERS:
        raise PlanError(
            f"{target.name} has the suffix {target.suffix!r}; counts are exported to {' or '.join(WRITERS)}"
        )
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} exists; give overwrite=True (--overwrite) to replace it")
    partial = target.with_name(f"{target.name}.partial")
    try:
        WRITERS[target.suffix](counts, resolve(samples, len(counts), "sample"), partial)
        with partial.open("rb+") as raw:
            os.fsync(raw.fileno())
        os.replace(partial, target)
    except OSError as error:
        raise StoreError(f"can't write {target}: {os.strerror(error.errno) if error.errno else error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _npy(counts: Counts, samples: IndexArray, path: Path) -> None:
    """Write a plain NumPy file, of which at most a piece is in memory."""
    shape = samples.size, *counts.shape[1:]
    with path.open("wb") as file:
        described = {"descr": counts.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)
        for s, n, t in _pieces(counts, samples):
            file.write(np.ascontiguousarray(counts[samples[s], n, t]).data)


def _netcdf(counts: Counts, samples: IndexArray, path: Path) -> None:
    """Write netCDF 4 with names as coordinates, compressed."""
    import h5py

    h5netcdf = need("h5netcdf", "netCDF", "xarray")
    labels = coordinates(counts) | {"sample": counts.selection.samples[samples]}
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {axis: len(values) for axis, values in labels.items()}
        for axis, values in labels.items():
            text = np.asarray(values).dtype == object
            file.create_variable(axis, (axis,), h5py.string_dtype() if text else values.dtype, data=values)
        _, ncells, nfeatures = counts.shape
        rows = max(1, min(ncells, 2**20 // max(1, nfeatures)))
        variable = file.create_variable(
            VARIABLE,
            AXES,
            counts.dtype,
            chunks=(1, rows, nfeatures),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for s, n, t in _pieces(counts, samples):
            variable[s, n, t] = counts[samples[s], n, t]


def _anndata(counts: Counts, samples: IndexArray, path: Path) -> None:
    """Write an AnnData with one sparse layer a sample."""
    counts.to_anndata(samples).write_h5ad(path)


def _pieces(counts: Counts, samples: IndexArray) -> Iterator[Piece]:
    """Cut what is exported into pieces in C order: whole samples, or some cells of one."""
    nsamples, rows, _ = counts.piece
    for s0, n0 in product(range(0, samples.size, nsamples), range(0, counts.shape[1], rows)):
        yield slice(s0, min(s0 + nsamples, samples.size)), slice(n0, min(n0 + rows, counts.shape[1])), slice(None)


WRITERS: dict[str, Callable[[Counts, IndexArray, Path], None]] = {".h5ad": _anndata, ".nc": _netcdf, ".npy": _npy}
