"""The kernel's own work: one slab of counts in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Task
from streamsample import slab_work
from streamsample.geometry import minibatches, slabs
from streamsample.overflow import narrowest_dtype
from streamsample.posterior import Posterior
from streamsample.run import numba_threads
from streamsample.stream import CountStream

SEED = 2**40 + 1

# As in a long run, in which every route is soon worth compiling.
slab_work.WORTH_COMPILING = 0


class BenchSlab:
    """All counts of a posterior as one slab, filled again and again into the same array."""

    def __init__(self, posterior: Posterior, dtype: str | None = None) -> None:
        """Read the parameters and touch the array, so that neither is part of what is measured.

        Parameters
        ----------
        posterior
            Small enough for its counts to be in memory.
        dtype
            Of the counts; the narrowest that holds them if left out.
        """
        self.stream = CountStream(posterior, SEED)
        self.nsamples, self.ncells, self.nfeatures = self.stream.shape
        self.minibatch = self.stream.load(0, self.nsamples)
        self.out: NDArray[Any] = np.zeros(self.stream.shape, dtype=dtype or narrowest_dtype(posterior).dtype)

    def fill(self) -> None:
        """Compute every count."""
        self.minibatch.fill(0, self.nsamples, 0, self.ncells, self.out)

    def task(self, threads: int) -> Task:
        """Fill the slab on so many threads."""
        return Task(on_threads(threads, self.fill), self.out.size)


def on_threads(threads: int, run: Callable[[], object]) -> Callable[[], None]:
    """Run something with Numba's number of threads set to `threads`."""

    def call() -> None:
        with numba_threads(threads):
            run()

    return call


def stream_through(
    stream: CountStream, minibatch: int, slab_samples: int, slab_cells: int, room: NDArray[Any]
) -> NDArray[Any]:
    """Compute all counts of a stream as a run does, but for the writing; returns the last slab.

    Parameters
    ----------
    minibatch
        Samples whose parameters are read at a time.
    slab_samples, slab_cells
        Of a slab; one sample where it does not span all cells.
    room
        One-dimensional, for one slab; used for all of them.
    """
    nsamples, ncells, nfeatures = stream.shape
    counts = room[:0]
    for s0, s1 in minibatches(nsamples, minibatch):
        parameters = stream.load(s0, s1)
        for slab in slabs(s0, s1, ncells, slab_samples, slab_cells):
            shape = slab.nsamples, slab.ncells, nfeatures
            counts = room[: math.prod(shape)].reshape(shape)
            parameters.fill(slab.s0, slab.s1, slab.n0, slab.n1, counts)
    return counts
