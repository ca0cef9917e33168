"""Small outputs of every kind, for tests that write all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from streamsample.chunking import Chunking
from streamsample.geometry import Shape
from streamsample.sizing import Plan

ENDS = (".npy", ".h5", "-gzip.h5", "-zstd.h5", ".zarr")
"""Ends of a file's name; what is before the suffix is the compression."""


def compression(path: Path) -> str:
    """The compression that a file's name asks for."""
    return "zstd" if path.suffix == ".zarr" else path.stem.partition("-")[2] or "none"


def suited(plan: Plan, path: Path) -> Plan:
    """A plan made by hand, with chunks where the format has some; all such plans have the same ones."""
    if compression(path) == "none":
        return replace(plan, chunking=None)
    ncells = plan.shape[1]
    cells = plan.slab_cells if plan.slab_cells >= ncells else min(ncells, -(-plan.slab_cells // 4) * 4)
    return replace(plan, chunking=small_chunks(plan.shape, path), slab_cells=cells, slab_unit=(1, 4))


def small_chunks(shape: Shape, path: Path) -> Chunking:
    """Chunks of a few counts, some of them padded."""
    _, ncells, nfeatures = shape
    chunks = 1, 4, max(1, nfeatures // 3)
    padded = -(-nfeatures // chunks[2]) * chunks[2]
    shards = (2, min(12, -(-ncells // 4) * 4), padded) if path.suffix == ".zarr" else None
    return Chunking(chunks, compression(path), shards)


def read(path: Path) -> Any:
    """All counts of a file, without streamsample."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".zarr":
        import zarr

        return zarr.open_group(path, mode="r")["counts"][:]
    import hdf5plugin  # noqa: F401 (registers its filters)

    with h5py.File(path, "r") as file:
        return file["counts"][:]
