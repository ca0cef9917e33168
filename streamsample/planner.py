"""How the work is cut so that it fits: a pure decision, and the function that gathers what it needs."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace

from streamsample.budget import Budget
from streamsample.budget.host import process_nbytes
from streamsample.chunking import Chunking, Purpose, Storage
from streamsample.cutting import Work
from streamsample.errors import BudgetError, PlanError
from streamsample.expectation import CountFacts
from streamsample.geometry import QUAD
from streamsample.memory_model import ALL_LIBRARIES_NBYTES, ParameterFacts, libraries_nbytes
from streamsample.overflow import DTYPES, narrowest_dtype
from streamsample.refusal import refusal
from streamsample.sizing import Plan
from streamsample.stream import CountStream
from streamsample.target import TargetFacts
from streamsample.units import MIB, format_bytes, format_count

__all__ = ["Plan", "decide", "plan"]

_DEFAULT_BASELINE = 64 * MIB  # Python, NumPy and an open posterior


def decide(
    facts: ParameterFacts,
    budget: Budget,
    target: TargetFacts,
    *,
    minibatch_size: int | None = None,
    safety_factor: float | None = None,
    threads: int | None = None,
    dtype: str = "auto",
    baseline: int = _DEFAULT_BASELINE,
    libraries: int = ALL_LIBRARIES_NBYTES,
    check_room: bool = True,
    storage: Storage | None = None,
) -> Plan:
    """Choose minibatch, slab and threads so that the predicted peak stays within safety factor x budget.

    A pure function of its arguments: nothing is read or measured.

    Parameters
    ----------
    facts
        Sizes of the parameters and of the selection.
    budget
        Bytes and CPUs that may be used.
    target
        Where the counts go.
    minibatch_size
        Samples in work at a time; chosen if not given.
    safety_factor
        Share of the budget that may be used; 0.7 on a dedicated allocation and 0.35 elsewhere if not given.
    threads
        Threads that compute; all CPUs of the budget if not given.
    dtype
        ``uint8``, ``uint16``, ``uint32``, or ``auto`` for `facts.dtype`.
    baseline
        Bytes that this process holds already.
    libraries
        Bytes that loading libraries and compiling will add.
    check_room
        Whether an output that does not fit on its disk is an error.
    storage
        How it shall be stored; in the format's own way if not given.

    Raises
    ------
    BudgetError
        If one slab does not fit, or the minibatch asked for does not.
    PlanError
        If an option makes no sense.
    StoreError
        If the output does not fit on its disk.
    """
    facts = _with_dtype(facts, dtype)
    workers = budget.cpus if threads is None else _positive(threads, "threads")
    given = None if minibatch_size is None else min(_positive(minibatch_size, "minibatch_size"), facts.nsamples)
    allowed = budget.allowed(safety_factor)
    where = f"({budget.tightest}, safety {budget.safety_factor(safety_factor):g})"
    work = Work(
        facts,
        threads=workers,
        minibatch=given,
        baseline=baseline,
        libraries=libraries,
        suffix=target.suffix,
        medium=target.medium,
        storage=storage or Storage(),
        shard_nbytes=min(budget.nbytes // 4, target.file_limit_nbytes or sys.maxsize),
    )
    cut = work.coarsest(allowed)
    if cut is None:
        raise BudgetError(refusal(work, allowed, where))
    made = Plan(
        shape=facts.shape,
        minibatch=cut.minibatch,
        slab_samples=cut.slab_samples,
        slab_cells=cut.slab_cells,
        dtype=facts.dtype,
        threads=workers,
        quantities=cut.quantities,
        allowed_nbytes=allowed,
        safety_factor=budget.safety_factor(safety_factor),
        limit_nbytes=budget.nbytes if budget.detected else None,
        counts=facts.counts,
        posterior_nbytes=facts.posterior_nbytes,
        slab_unit=(1, QUAD) if cut.chunking is None else cut.chunking.unit,
        chunking=cut.chunking,
        target=target,
        reasons={
            "minibatch": "as asked for" if given else "samples whose parameters are in memory at a time",
            "dtype": facts.dtype_reason,
            "threads": "as asked for" if threads else f"{budget.cpus} CPUs may be used",
            "allowed": f"{format_bytes(budget.nbytes)} {where}",
            "output": f"{target.path} on {target.filesystem}"
            + ("" if target.free_nbytes is None else f", {format_bytes(target.free_nbytes)} free")
            + ("" if target.free_files is None else f", room for {format_count(target.free_files)} files"),
        },
    )
    if check_room:
        target.check_room(made.needed_nbytes, made.nfiles)
    return made


def plan(
    stream: CountStream,
    path: str | os.PathLike[str],
    *,
    budget: Budget | None = None,
    minibatch_size: int | None = None,
    safety_factor: float | None = None,
    threads: int | None = None,
    dtype: str = "auto",
    check_room: bool = True,
    compression: str = "auto",
    optimize_for: Purpose | None = None,
    kept: Chunking | None = None,
) -> Plan:
    """Plan how to write a stream's counts to a file, within the memory that may be used.

    Parameters
    ----------
    stream
        The counts.
    path
        The file to be written, ``.h5``, ``.zarr`` or ``.npy``.
    budget
        Bytes and CPUs; detected if not given.
    minibatch_size, safety_factor, threads, dtype, check_room
        See `decide`. The type is found from the whole posterior unless it is given.
    compression
        ``none``, ``gzip``, ``zstd`` or ``lz4``; ``auto`` is ``zstd`` for ``.zarr`` and ``none`` for others.
    optimize_for
        What the chunks are shaped for: ``cell`` or ``feature``, one of them read over all samples, or ``sample``, the
        smallest file, that is fair to both; if not given, ``sample``, or as `kept`.
    kept
        Chunks of an output that is continued; see `stores.kept_chunking`.

    Raises
    ------
    BudgetError, PlanError, StoreError
        See `decide`.
    """
    target = TargetFacts.gather(path)
    posterior, selection = stream.posterior, stream.selection
    facts = ParameterFacts.of(posterior, selection)
    if dtype == "auto":
        choice = narrowest_dtype(posterior)
        facts = replace(facts, dtype=choice.dtype, dtype_reason=choice.reason)
    facts = replace(facts, counts=CountFacts.of(posterior, selection))
    return decide(
        facts,
        Budget.detect() if budget is None else budget,
        target,
        minibatch_size=minibatch_size,
        safety_factor=safety_factor,
        threads=threads,
        dtype=dtype,
        baseline=process_nbytes(),
        libraries=libraries_nbytes(
            facts.dtype if dtype == "auto" else dtype, math.prod(facts.shape), facts.counts.mean
        ),
        check_room=check_room,
        storage=Storage(compression, optimize_for, kept),
    )


def _with_dtype(facts: ParameterFacts, dtype: str) -> ParameterFacts:
    """Put the type that the user asked for into the facts."""
    if dtype == "auto":
        return facts
    if dtype not in DTYPES:
        raise PlanError(f"counts can't be stored as {dtype!r}; choose auto, {', '.join(DTYPES)}")
    return replace(facts, dtype=dtype, dtype_reason="as asked for; a count that does not fit stops the run")


def _positive(number: int, name: str) -> int:
    """Refuse what can't be a number of things."""
    if number < 1:
        raise PlanError(f"{name} is {number}; it must be at least 1")
    return number
