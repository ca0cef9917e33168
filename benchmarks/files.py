"""What writing counts to a file is measured against: the disk alone, the encoder alone, and what a user could write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Task
from benchmarks.slabs import BenchSlab
from streamsample.chunking import Chunking
from streamsample.geometry import Slab
from streamsample.posterior import Posterior
from streamsample.stores.codecs import CODECS
from streamsample.stores.encoder import Encoder
from streamsample.units import MIB


def encoder_task(slab: BenchSlab, chunking: Chunking, threads: int) -> Task:
    """Encode a slab that is in memory, on so many threads; what comes out is dropped."""
    whole = Slab(0, slab.nsamples, 0, slab.ncells)

    def run() -> None:
        encoder = Encoder(chunking, CODECS[chunking.codec], threads)
        try:
            for _ in encoder.encode(whole, slab.out):
                pass
        finally:
            encoder.close()

    return Task(run, slab.out.size)


def disk_task(folder: Path, nbytes: int, itemsize: int) -> Task:
    """``dd oflag=direct`` of zeros, synced, as counts of so many bytes; through the page cache where it must be."""
    path, block = folder / "zeros", min(16 * MIB, nbytes)
    command = ["dd", "if=/dev/zero", f"of={path}", f"bs={block}", f"count={nbytes // block}", "conv=fsync"]

    def run() -> None:
        direct = subprocess.run([*command, "oflag=direct"], capture_output=True, check=False)
        if direct.returncode != 0:
            subprocess.run(command, capture_output=True, check=True)
        path.unlink()

    return Task(run, nbytes // block * block // itemsize)


def memmap_task(posterior: Posterior, path: Path, cells: int) -> Task:
    """``numpy.random.Generator.negative_binomial`` of the first cells of a sample into a memmap, flushed."""
    mean, phi = _parameters(posterior, cells)

    def run() -> None:
        counts = np.memmap(path, np.uint16, "w+", shape=mean.shape)
        rng = np.random.default_rng(1)
        for n in range(0, cells, 64):
            m = mean[n : n + 64]
            counts[n : n + 64] = rng.negative_binomial(phi, phi / (phi + m))
        counts.flush()

    return Task(run, mean.size)


def dask_task(posterior: Posterior, path: Path, cells: int) -> Task:
    """The same, as blocks of a Dask array on its threads, into Zarr as Dask writes it."""
    import dask.array

    mean, phi = _parameters(posterior, cells)
    size = 256, 2048
    chunks = tuple(
        tuple(min(length, whole - at) for at in range(0, whole, length))
        for whole, length in zip(mean.shape, size, strict=True)
    )

    def draw(block_id: tuple[int, int] = (0, 0)) -> NDArray[np.uint16]:
        n, t = (slice(i * length, (i + 1) * length) for i, length in zip(block_id, size, strict=True))
        m = mean[n, t]
        return np.random.default_rng(block_id).negative_binomial(phi[t], phi[t] / (phi[t] + m)).astype(np.uint16)

    def run() -> None:
        counts: Any = dask.array.map_blocks(draw, chunks=chunks, dtype=np.uint16, meta=np.empty((0, 0), np.uint16))
        shutil.rmtree(path, ignore_errors=True)
        counts.to_zarr(path, compute=True)

    return Task(run, mean.size)


def _parameters(posterior: Posterior, cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means (n, T) and total counts (T,) of the first sample."""
    block, sides = posterior.read(np.arange(1)), posterior.cells
    mean = block.mu[0] * block.alpha[0, sides.group[:cells]] * sides.size_factor[:cells, None]  # (n, T)
    return mean, block.phi[0]
