"""The ways to keep a posterior predictive: what each takes on the disk, to write, and to read one gene again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streamsample import rates
from streamsample.chunking import SHARD_NBYTES, Chunking, choose_chunks, choose_shards
from streamsample.expectation import CountFacts
from streamsample.geometry import Shape
from streamsample.units import format_bytes, format_seconds

_SUMMARY_STATISTICS = 3  # mean, variance, share of zeros: float64 for each sample and feature
_CELLS = 4096  # of a slab where there is memory


@dataclass(frozen=True)
class Way:
    """One way to keep the counts."""

    name: str
    """``raw``, ``compressed``, ``virtual`` or ``summary only``."""
    nbytes: int
    """Size on the disk; a forecast where it depends on the counts."""
    nfiles: int
    """Files that hold it."""
    write_seconds: float
    """To make it, the posterior being there."""
    gene_seconds: float
    """To read, or to compute, one feature in all samples and cells, from a disk whose pages are not in memory."""
    how: str
    """What to do for it."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def ways(
    shape: Shape, dtype: str, threads: int, counts: CountFacts, posterior_nbytes: int, chunking: Chunking | None = None
) -> tuple[Way, ...]:
    """List the ways, the largest first.

    Parameters
    ----------
    shape
        (S, N, T).
    dtype
        Type of the counts.
    threads
        That compute.
    counts
        What they are like.
    posterior_nbytes
        Size of the parameters.
    chunking
        Of the compressed counts, where it is decided.
    """
    nsamples, ncells, nfeatures = shape
    ncounts = math.prod(shape)
    itemsize = np.dtype(dtype).itemsize
    making = ncounts * counts.seconds / threads
    raw = ncounts * itemsize
    rows = nsamples * ncells
    scattered = min(rows / rates.SCATTERED_READS, raw / rates.SCATTERED_SPAN)
    computed = nsamples / rates.SCATTERED_READS + rows * counts.seconds / threads
    summary = 8 * _SUMMARY_STATISTICS * nsamples * nfeatures
    return (
        Way("raw", raw, 1, max(making, raw / rates.WRITE), scattered, "sample -o counts.h5, or .npy"),
        _compressed(shape, itemsize, threads, counts, making, chunking),
        Way("virtual", posterior_nbytes, 1, posterior_nbytes / rates.WRITE, computed,
            "virtual, or posterior.h5 alone: any slice is computed when it is asked for"),
        Way("summary only", summary, 1, making + summary / rates.WRITE, nsamples / rates.SCATTERED_READS,
            "summarise(): mean, variance and zeros of each sample and feature"),
    )  # fmt: skip


def _compressed(
    shape: Shape, itemsize: int, threads: int, counts: CountFacts, making: float, chunking: Chunking | None
) -> Way:
    """Forecast chunks that are encoded: a gene is in one chunk of each sample and block of cells."""
    if chunking is None:
        chunks = choose_chunks(shape, itemsize, most_cells=_CELLS)
        chunking = Chunking(chunks, "zstd", choose_shards(shape, chunks, SHARD_NBYTES, counts.encoded_nbytes))
    nsamples, ncells, _ = chunking.grid(shape)
    ncounts = math.prod(shape)
    nbytes = math.ceil(ncounts * counts.encoded_nbytes)
    coding = ncounts / rates.ENCODE / threads
    read = nsamples * ncells
    share = read / chunking.nchunks(shape)
    gene = min(read / rates.SCATTERED_READS, nbytes / rates.SCATTERED_SPAN) + share * nbytes / rates.READ
    gene += share * ncounts / rates.DECODE / threads
    write = max(making + coding, nbytes / rates.WRITE)
    return Way("compressed", nbytes, chunking.nfiles(shape), write, gene, "sample -o counts.zarr, or .h5 --compression")


def table(kept: tuple[Way, ...]) -> str:
    """Write the ways as a table of plain text."""
    head = f"  {'':<15}{'size':>11}{'files':>8}{'to write':>14}{'one gene':>14}  how"
    lines = [
        f"  {way.name:<15}{format_bytes(way.nbytes):>11}{way.nfiles:>8,}{format_seconds(way.write_seconds):>14}"
        f"{format_seconds(way.gene_seconds):>14}  {way.how}"
        for way in kept
    ]
    return "\n".join(["Ways to keep the result", head, *lines])
