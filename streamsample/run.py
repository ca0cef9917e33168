"""The loop that turns a stream into a file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamsample.chunking import check_chunking
from streamsample.errors import Interrupted, PlanError, how_to_continue
from streamsample.flight import Flight, LazyMinibatch
from streamsample.geometry import Slab
from streamsample.planner import Plan
from streamsample.planner import plan as make_plan
from streamsample.pressure import Watch
from streamsample.stopping import Stopper
from streamsample.stores import kept_chunking
from streamsample.stores.base import Labels, store_for
from streamsample.stores.manifest import Manifest
from streamsample.stores.output import Output
from streamsample.stores.writing import Writing
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
    """Bytes of counts, encoded where they are: written, those of an earlier run included."""
    seconds: float
    """Time since the start."""
    counts_before: int = 0
    """Of the counts written, those that an earlier run has left."""
    allowed_nbytes: int | None = None
    """Memory that the run may hold, by the latest reading of the limits; None: it does not look."""


def sample(
    stream: CountStream,
    path: str | os.PathLike[str],
    *,
    plan: Plan | None = None,
    overwrite: bool = False,
    resume: bool = False,
    break_lock: bool = False,
    stopper: Stopper | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Write all counts of a stream to a file.

    The file appears under its name when it is complete; until then, and if anything fails, what had the name before
    stays as it is. What is written when a run ends early stays beside it under a partial name, and a run that resumes
    computes the rest; the file is the same as if nothing had happened. The counts do not depend on the plan.

    Parameters
    ----------
    stream
        The counts.
    path
        The file, ``.h5``, ``.zarr`` or ``.npy``.
    plan
        How to cut the work; made from the memory detected if not given.
    overwrite
        Whether a file of that name, finished or not, may be replaced.
    resume
        Whether to continue an unfinished one; starts where there is none, and returns at once where all is there.
    break_lock
        Whether to go on although another process seems to write this file, and may be alive.
    stopper
        Says when to stop early; if not given, before the job's time is over.
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
    Interrupted
        If the run has stopped early, and can be resumed.
    OutputExists, OutputLocked, StoreError
        If the file may not or can't be written.
    PlanError, BudgetError
        If no plan exists, or it is another stream's.
    """
    target = Path(path)
    store = store_for(target)
    facts = TargetFacts.gather(target)
    with Output(store, target, overwrite=overwrite, resume=resume, break_lock=break_lock) as output:
        made = plan or make_plan(stream, target, check_room=False, kept=kept_chunking(target) if resume else None)
        if made.shape != stream.shape:
            raise PlanError(f"the plan is for counts of shape {made.shape}, the stream has {stream.shape}")
        check_chunking(target.suffix, made.chunking)
        manifest = _identify(stream, made)
        if output.is_complete(manifest):
            logger.info("%s is complete already", target)
            return target
        facts.check_room(made.needed_nbytes, made.nfiles)
        _log_plan(made)
        labels = Labels.of(stream.posterior, stream.selection)
        writing = output.begin(manifest, labels, made.threads)
        reporter = _Reporter(made, progress, writing, how_to_continue(overwrite))
        with numba_threads(made.threads):
            stopped = _stream_slabs(stream, made, writing, stopper or Stopper(), reporter)
        writing.flush()
        if stopped is not None:
            raise Interrupted(f"{target}: stopped by {stopped}; {reporter.describe()}")
        output.commit(writing, manifest, labels)
    return target


def _identify(stream: CountStream, plan: Plan) -> Manifest:
    """Return what makes this run this run."""
    start = time.monotonic()
    digest = stream.posterior.digest()
    logger.debug("digest of the posterior %s, in %s", digest[:12], format_seconds(time.monotonic() - start))
    return Manifest(
        seed=stream.seed,
        posterior_digest=digest,
        selection=stream.selection,
        dtype=plan.dtype,
        stream_version=stream.posterior.facts.stream_version,
        layout=plan.layout,
    )


def _log_plan(plan: Plan) -> None:
    """Tell who listens at DEBUG what was decided."""
    for name, value in (("dtype", plan.dtype), ("threads", plan.threads), ("minibatch", plan.minibatch)):
        reason = plan.reasons.get(name)
        logger.debug("%s: %s%s", name, value, f", {reason}" if reason else "")


def _stream_slabs(
    stream: CountStream, plan: Plan, writing: Writing, stopper: Stopper, reporter: _Reporter
) -> str | None:
    """Compute each slab while the one before it is written; cut the rest finer where memory gets short.

    Returns
    -------
    str or None
        Why it has stopped before the end; None: everything is written.
    """
    watch, there = Watch(), writing.coverage()
    plan, reporter.allowed = watch.begin(plan), watch.allowed
    s, n, slowest, stopped = 0, 0, 0.0, None
    with _writer_thread(writing) as writer:
        flight = Flight(plan, writing, writer, reporter.written)
        while s < plan.shape[0] and stopped is None:
            minibatch = LazyMinibatch(stream, s, min(s + plan.minibatch, plan.shape[0]))
            while s < minibatch.s1 and flight.plan is plan and stopped is None:
                slab = plan.slab_at(s, n, minibatch.s1)
                for piece in there.missing(slab):
                    stopped = stopped or stopper.reason(2 * slowest)
                    if stopped is None:
                        slowest = max(slowest, flight.fill(minibatch, piece))
                s, n = slab.end(plan.shape[1])
                plan, reporter.allowed = watch.relieve(plan), watch.allowed
            del minibatch  # before the next one is read, so that there is one at a time
            if flight.plan is not plan:
                flight.drain()
                flight = Flight(plan, writing, writer, reporter.written)
        flight.drain()
    return stopped


@contextmanager
def _writer_thread(writing: Writing) -> Iterator[ThreadPoolExecutor]:
    """Give the thread that writes, and wait for it; who presses Ctrl-C twice waits for a piece, not for slabs."""
    writer = ThreadPoolExecutor(1, thread_name_prefix="streamsample-writer")
    try:
        yield writer
    except KeyboardInterrupt:
        writing.stop()
        raise
    finally:
        writer.shutdown()


class _Reporter:
    """Counts what has been written, and tells about it."""

    def __init__(self, plan: Plan, progress: Callable[[Progress], None] | None, writing: Writing, way_on: str) -> None:
        self._plan = plan
        self._progress = progress
        self._way_on = way_on
        self.allowed = plan.allowed_nbytes
        """Bytes of memory."""
        self._done = self._before = sum(self._ncounts(line.slab) for line in writing.lines)
        self._landed = sum(run.nbytes for line in writing.lines for run in line.runs)
        if plan.chunking is None:
            self._landed = self._done * np.dtype(plan.dtype).itemsize
        self._start = time.monotonic()
        if self._done:
            logger.info("continuing: %s", self.describe())

    def written(self, slab: Slab, nbytes: int) -> None:
        """Take note of a slab, and of its bytes as written."""
        self._done += self._ncounts(slab)
        self._landed += nbytes
        if self._progress is not None:
            seconds, total = time.monotonic() - self._start, self._plan.ncounts
            self._progress(Progress(self._done, total, self._landed, seconds, self._before, self.allowed))

    def describe(self) -> str:
        """Say how far the run has come, and how it is continued."""
        if not self._done:
            return "nothing is written yet: the same command starts again"
        return f"{self._done / self._plan.ncounts:.1%} of the counts are safely written: give {self._way_on}"

    def _ncounts(self, slab: Slab) -> int:
        return slab.nsamples * slab.ncells * self._plan.shape[2]


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
