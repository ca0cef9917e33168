"""Cost against size: along each axis over three orders of magnitude, one thread, in memory."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import SEED, stream_through
from benchmarks.workloads import WORKLOADS
from streamsample.geometry import Shape
from streamsample.stream import CountStream

SLAB_CELLS = 4096
LADDERS: dict[str, tuple[Shape, ...]] = {
    "S": tuple((size, 512, 512) for size in (1, 10, 100, 1_000)),
    "N": tuple((1, size, 2_048) for size in (64, 640, 6_400, 64_000)),
    "T": tuple((1, 4_096, size) for size in (32, 320, 3_200, 32_000)),
}


@pytest.mark.benchmark(group="scaling")
@pytest.mark.parametrize(
    ("axis", "shape"), [(axis, shape) for axis, ladder in LADDERS.items() for shape in ladder], ids=str
)
def test_axis(axis: str, shape: Shape, race: Race, small: bool) -> None:
    """The same law of the parameters at every size."""
    if small:
        shape = tuple(min(size, 40) for size in shape)  # type: ignore[assignment]
    stream = CountStream(WORKLOADS["single_cell"].posterior(shape), SEED)
    ncells = min(shape[1], SLAB_CELLS)
    room = np.zeros(ncells * shape[2], np.uint16)
    last = stream_through(stream, 64, 1, ncells, room)
    assert (last[0, ::5, ::7] == stream[-1, shape[1] - last.shape[1] :: 5, ::7]).all()
    race(Task(lambda: stream_through(stream, 64, 1, ncells, room), stream.size), rounds=3, axis=axis, shape=shape)
