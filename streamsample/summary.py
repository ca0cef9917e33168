"""Means, variances and zero fractions over cells, computed from a stream with nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamsample.errors import SelectionError
from streamsample.geometry import minibatches, slabs
from streamsample.parameters import FloatArray

if TYPE_CHECKING:
    from streamsample.stream import CountStream

SLAB_NBYTES = 32 * 2**20


@dataclass(frozen=True)
class Summary:
    """Moments over cells for each sample and feature."""

    mean: FloatArray
    """(S, T)."""
    variance: FloatArray
    """(S, T), divided by N."""
    zero_fraction: FloatArray
    """(S, T) share of cells whose count is 0."""


def summarise(stream: CountStream, *, progress: Callable[[int, int], None] | None = None) -> Summary:
    """Compute mean, variance and zero fraction over the cells of a stream, slab by slab.

    Takes 24 bytes a sample and feature, and a slab of 32 MiB (more where one cell's features need it).

    Parameters
    ----------
    stream
        The counts; ``stream.select(cells=...)`` for some cells only.
    progress
        Called with the samples done and all samples.

    Returns
    -------
    Summary
        Three (S, T) arrays.

    Raises
    ------
    SelectionError
        If the stream holds no counts.
    """
    from streamsample.kernels.moments import add_moments

    nsamples, ncells, nfeatures = stream.shape
    if stream.size == 0:
        raise SelectionError(f"there is nothing to summarise: the stream's shape is {stream.shape}")
    total, square = np.zeros((nsamples, nfeatures)), np.zeros((nsamples, nfeatures))
    zeros = np.zeros((nsamples, nfeatures), dtype=np.int64)
    slab_cells = max(4, min(ncells, SLAB_NBYTES // (4 * nfeatures)))
    slab_samples = max(1, SLAB_NBYTES // (4 * nfeatures * ncells))
    room = np.empty(slab_samples * slab_cells * nfeatures, dtype=np.uint32)
    for s0, s1 in minibatches(nsamples, max(slab_samples, stream.posterior.samples_per_read())):
        minibatch = stream.load(s0, s1)
        for slab in slabs(s0, s1, ncells, slab_samples, slab_cells):
            shape = slab.nsamples, slab.ncells, nfeatures
            counts = room[: np.prod(shape)].reshape(shape)  # (s, n, t)
            minibatch.fill(slab.s0, slab.s1, slab.n0, slab.n1, counts)
            rows = slice(slab.s0, slab.s1)
            add_moments(counts, total[rows], square[rows], zeros[rows])
            if progress is not None and slab.n1 == ncells:
                progress(slab.s1, nsamples)
    mean = total / ncells
    return Summary(mean, np.maximum(square / ncells - mean * mean, 0.0), zeros / ncells)
