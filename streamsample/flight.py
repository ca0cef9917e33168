"""Slabs in flight: one is computed while the one before it is written."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from streamsample.geometry import Slab
from streamsample.minibatch import Minibatch
from streamsample.sizing import Plan
from streamsample.stores.base import CountArray
from streamsample.stores.direct import BLOCK_NBYTES
from streamsample.stores.writing import Writing
from streamsample.stream import CountStream

logger = logging.getLogger(__name__)


class LazyMinibatch:
    """Samples ``s0:s1``, whose parameters are read when the first slab needs them: of what is written, none does."""

    def __init__(self, stream: CountStream, s0: int, s1: int) -> None:
        self.s1 = s1
        self._stream = stream
        self._s0 = s0
        self._loaded: Minibatch | None = None

    def fill(self, slab: Slab, counts: CountArray) -> None:
        """Compute a slab."""
        if self._loaded is None:
            self._loaded = self._stream.load(self._s0, self.s1)
            logger.debug("samples %d to %d of %d: parameters read", self._s0, self.s1 - 1, self._stream.shape[0])
        self._loaded.fill(slab.s0, slab.s1, slab.n0, slab.n1, counts)


class Flight:
    """Slabs that are computed or written, and the buffers that they are in.

    Parameters
    ----------
    plan
        Sizes and number of the buffers.
    writing
        Where the slabs go.
    writer
        The one thread that writes.
    written
        Called with each slab that has been written, and its bytes as written.
    """

    def __init__(self, plan: Plan, writing: Writing, writer: Executor, written: Callable[[Slab, int], None]) -> None:
        self.plan = plan
        self._writing = writing
        self._writer = writer
        self._written = written
        self._pending: deque[Future[tuple[Slab, int]]] = deque()
        self._buffers = cycle([_blocks(plan.slab_nbytes) for _ in range(plan.slabs_in_flight)])

    def fill(self, minibatch: LazyMinibatch, slab: Slab) -> float:
        """Compute a slab and hand it to the writer thread; returns the seconds that this took."""
        start = time.monotonic()
        counts = self._room(slab)
        minibatch.fill(slab, counts)
        self._pending.append(self._writer.submit(_land, self._writing, slab, counts))
        return time.monotonic() - start

    def _room(self, slab: Slab) -> CountArray:
        """Return an array (s, n, t) for a slab, as soon as what was in its buffer is written."""
        if len(self._pending) == self.plan.slabs_in_flight:  # the buffer that comes next is the oldest one's
            self._written(*self._pending.popleft().result())
        shape = slab.nsamples, slab.ncells, self.plan.shape[2]
        begin = self._writing.phase(slab)
        nbytes = math.prod(shape) * np.dtype(self.plan.dtype).itemsize
        return next(self._buffers)[begin : begin + nbytes].view(self.plan.dtype).reshape(shape)

    def drain(self) -> None:
        """Wait until all is written, and let go of the buffers."""
        while self._pending:
            self._written(*self._pending.popleft().result())
        self._buffers = cycle(())


def _blocks(nbytes: int) -> NDArray[np.uint8]:
    """Return a buffer that begins with a block, with room for a slab that begins anywhere within the first one."""
    room = np.empty(nbytes + 2 * BLOCK_NBYTES, dtype=np.uint8)
    begin = -room.ctypes.data % BLOCK_NBYTES
    return room[begin : begin + nbytes + BLOCK_NBYTES]


def _land(writing: Writing, slab: Slab, counts: CountArray) -> tuple[Slab, int]:
    """Write a slab, and say how many bytes it has become: the writer thread's work."""
    return slab, writing.write(slab, counts)
