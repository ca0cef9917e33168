"""Throughput against batch size: how many samples are in work at a time, and how much is computed at once.

The counts are computed as a run does it, from a posterior in a file, but not written. Pyro's `Predictive` draws a
smaller part of the same posterior.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.peers import pyro_task
from benchmarks.slabs import SEED, on_threads, stream_through
from benchmarks.workloads import WORKLOADS
from streamsample.geometry import Shape
from streamsample.posterior import Posterior
from streamsample.stream import CountStream

MINIBATCHES = (1, 4, 16, 64, 256)
SLABS = ((1, 16), (1, 4), (1, 1), (16, 1))  # samples, and parts that the cells are cut into
ENOUGH = 32  # samples that are computed where the minibatch is smaller
ROUNDS = 3


@pytest.fixture(scope="module")
def shape(small: bool) -> Shape:
    """Sizes (S, N, T): all cells are one of the slabs."""
    return (16, 64, 20) if small else (256, 1024, 1_000)


@pytest.fixture(scope="module")
def saved(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A posterior.h5."""
    path = tmp_path_factory.mktemp("batch") / "posterior.h5"
    WORKLOADS["single_cell"].posterior(shape).save(path)
    return path


@pytest.mark.benchmark(group="batch")
@pytest.mark.parametrize(
    ("minibatch", "slab_samples", "parts"),
    [(minibatch, *slab) for minibatch in MINIBATCHES for slab in SLABS if slab[0] <= minibatch],
)
def test_minibatch(
    minibatch: int, slab_samples: int, parts: int, shape: Shape, saved: Path, race: Race, small: bool, all_threads: int
) -> None:
    """Every thread; slabs of several samples where they span all cells."""
    minibatch = min(minibatch, shape[0])
    most = minibatch if small else max(minibatch, ENOUGH)
    stream = CountStream(Posterior.open(saved), SEED).select(samples=slice(most))
    slab_cells = stream.shape[1] // parts
    room = np.zeros(slab_samples * slab_cells * stream.shape[2], np.uint16)

    def run() -> None:
        stream_through(stream, minibatch, slab_samples, slab_cells, room)

    stream_through(stream.select(samples=slice(1)), 1, 1, slab_cells, room)
    race(
        Task(on_threads(all_threads, run), stream.size), rounds=ROUNDS, warm=False,
        shape=shape, minibatch=minibatch, slab_samples=slab_samples, slab_cells=slab_cells, threads=all_threads,
        slab_nbytes=room.nbytes,
    )  # fmt: skip
    last = room.reshape(slab_samples, slab_cells, -1)[..., ::7]
    assert (last == stream[-slab_samples:, -slab_cells:, ::7]).all()


@pytest.mark.benchmark(group="batch of Pyro")
@pytest.mark.parametrize("minibatch", MINIBATCHES)
def test_pyro(minibatch: int, saved: Path, race: Race, small: bool) -> None:
    """`Predictive` on 64 of the cells and half of the features, one thread."""
    posterior = Posterior.open(saved)
    minibatch = min(minibatch, posterior.shape[0])
    most = minibatch if small else max(minibatch, 16)
    ncells, nfeatures = (4, 8) if small else (64, 500)
    race(pyro_task(posterior, minibatch, most, ncells, nfeatures), rounds=ROUNDS, minibatch=minibatch)
