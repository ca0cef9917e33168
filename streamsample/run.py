"""The loop that turns a stream into a file."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import xxhash

from streamsample.errors import PlanError
from streamsample.geometry import Slab
from streamsample.memory_model import SLABS_IN_FLIGHT
from streamsample.planner import Plan
from streamsample.planner import plan as make_plan
from streamsample.stores.base import CountArray, Labels, Landing, store_for
from streamsample.stores.manifest import Manifest, SlabCheck
from streamsample.stores.output import Output
from streamsample.stream import CountStream
from streamsample.target import TargetFacts
from streamsample.units import format_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    counts_done: int
    """Counts written."""
    counts_total: int
    """Counts in all."""
    nbytes: int
    """Bytes written."""
    seconds: float
    """Time since the start."""


def sample(
    stream: CountStream,
    path: str | os.PathLike[str],
    *,
    plan: Plan | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Write all counts of a stream to a file.

    The file appears under its name when it is complete; until then, and if anything fails, what had the name before
    stays as it is. The counts do not depend on the plan.

    Parameters
    ----------
    stream
        The counts.
    path
        The file, ``.h5`` or ``.npy``.
    plan
        How to cut the work; made from the memory detected if not given.
    overwrite
        Whether a file of that name may be replaced.
    progress
        Called with a `Progress` after each slab.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    CountOverflow
        If a count does not fit the plan's type; names the element.
    OutputExists, StoreError
        If the file may not or can't be written.
    PlanError, BudgetError
        If no plan exists, or it is another stream's.
    """
    target = Path(path)
    store = store_for(target)
    facts = TargetFacts.gather(target)
    with Output(store, target, overwrite=overwrite) as output:
        made = make_plan(stream, target) if plan is None else plan
        if made.shape != stream.shape:
            raise PlanError(f"the plan is for counts of shape {made.shape}, the stream has {stream.shape}")
        facts.check_room(made.output_nbytes)
        _log_plan(made)
        start = time.monotonic()
        digest = stream.posterior.digest()
        logger.debug("digest of the posterior %s, in %s", digest[:12], format_seconds(time.monotonic() - start))
        manifest = Manifest(
            seed=stream.seed,
            posterior_digest=digest,
            selection=stream.selection,
            dtype=made.dtype,
        )
        landing = store.create(output.partial, manifest, Labels.of(stream.posterior, stream.selection))
        with numba_threads(made.threads):
            checks = _stream_slabs(stream, made, landing, progress)
        store.finish(output.partial, manifest.completed(checks))
        output.commit()
    return target


def _log_plan(plan: Plan) -> None:
    """Tell who listens at DEBUG what was decided."""
    for name, value in (("dtype", plan.dtype), ("threads", plan.threads), ("minibatch", plan.minibatch)):
        reason = plan.reasons.get(name)
        logger.debug("%s: %s%s", name, value, f", {reason}" if reason else "")


def _stream_slabs(
    stream: CountStream, plan: Plan, landing: Landing, progress: Callable[[Progress], None] | None
) -> tuple[SlabCheck, ...]:
    """Compute each slab while the one before it is written."""
    report = _Reporter(plan, progress)
    pending: deque[Future[SlabCheck]] = deque()
    room = np.empty((SLABS_IN_FLIGHT, plan.slab_nbytes // np.dtype(plan.dtype).itemsize), dtype=plan.dtype)
    buffers = cycle(room)
    with closing(landing), ThreadPoolExecutor(1, thread_name_prefix="streamsample-writer") as writer:
        for s0, s1 in plan.minibatches():
            minibatch = stream.load(s0, s1)
            logger.debug("samples %d to %d of %d: parameters read", s0, s1 - 1, plan.shape[0])
            for slab in plan.slabs(s0, s1):
                if len(pending) == SLABS_IN_FLIGHT:  # the buffer that comes next is the oldest one's
                    report.written(pending.popleft().result())
                shape = slab.nsamples, slab.ncells, plan.shape[2]
                counts = next(buffers)[: math.prod(shape)].reshape(shape)  # (s, n, t)
                minibatch.fill(slab.s0, slab.s1, slab.n0, slab.n1, counts)
                pending.append(writer.submit(_land, landing, slab, counts))
            del minibatch  # before the next one is read, so that there is one at a time
        while pending:
            report.written(pending.popleft().result())
    return tuple(report.checks)


def _land(landing: Landing, slab: Slab, counts: CountArray) -> SlabCheck:
    """Write a slab and take its checksum: the writer thread's work."""
    landing.write(slab, counts)
    return SlabCheck(slab, xxhash.xxh3_64_intdigest(counts.data.cast("B")))


class _Reporter:
    """Collects what has been written, and tells about it."""

    def __init__(self, plan: Plan, progress: Callable[[Progress], None] | None) -> None:
        self.checks: list[SlabCheck] = []
        self._plan = plan
        self._progress = progress
        self._done = 0
        self._start = time.monotonic()

    def written(self, check: SlabCheck) -> None:
        """Take note of a slab."""
        self.checks.append(check)
        self._done += check.slab.nsamples * check.slab.ncells * self._plan.shape[2]
        if self._progress is not None:
            nbytes = self._done * np.dtype(self._plan.dtype).itemsize
            self._progress(Progress(self._done, self._plan.ncounts, nbytes, time.monotonic() - self._start))


@contextmanager
def numba_threads(threads: int) -> Iterator[None]:
    """Let Numba's parallel loops use so many threads, and put its own number back afterwards."""
    import numba

    from streamsample.kernels.jit import threads_available

    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, threads_available()))
    try:
        yield
    finally:
        numba.set_num_threads(before)
