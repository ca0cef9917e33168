"""The memory report, line by line, and how it reaches the user without any logging set-up."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any

from streamsample.budget import Budget, Statement
from streamsample.errors import BudgetError
from streamsample.estimate import PredictiveEstimate, Room, predictive_estimate
from streamsample.units import GIB, format_bytes

COMPARISON = "[INFO] For comparison, a Predictive that keeps all counts in memory:"
"""The line that says what `memory_lines` are, where they come before a plan."""

_SLURM_GROUP = re.compile(r"^cgroup .*slurm.*/job_\d+")
_PHYSICAL = ("psutil", "/proc/meminfo")


def memory_lines(estimate: PredictiveEstimate, budget: Budget | None = None) -> list[str]:
    """Write what an in-memory Predictive would need; programs look for these prefixes, so they are kept.

    Parameters
    ----------
    estimate
        The quantities.
    budget
        Where the limit comes from, if it is to be told otherwise than by the budget of the estimate.
    """
    if estimate.basis == "user":
        return [f"[MEMORY] Using user-specified minibatch_size={estimate.minibatch_size}"]
    if estimate.room is None:
        return [
            "[INFO] psutil not available - using conservative defaults "
            f"(minibatch_size={estimate.minibatch_size}, parallel={estimate.use_parallel}); pip install psutil"
        ]
    room = estimate.room
    budget = budget or room.budget
    return [
        *_limit_lines(budget),
        f"[MEMORY] Safety factor: {room.safety_factor * 100:.3g}% ({_safety_reason(room, budget)})",
        f"[MEMORY] Input data: {_gib(estimate.input_nbytes, 2)}",
        f"[MEMORY] Params per sample: {_gib(estimate.params_nbytes, 2)}",
        f"[MEMORY] Output per sample [N, T]: {_gib(estimate.output_nbytes, 2)}",
        *_parallel_lines(estimate, room),
        f"[MEMORY] Safe memory limit: {_gib(room.allowed_nbytes)}",
        f"[MEMORY] Available for output tensors: {_gib(room.output_nbytes)}",
        f"[MEMORY] Max samples that fit: {room.fitting}",
        *_batch_lines(estimate, room),
    ]


def predictive_lines(N: int, T: int, C: int, nsamples: int, budget: Budget | None = None, **options: Any) -> list[str]:
    """Estimate and write; where not even one sample fits in memory, say so in a line instead of failing.

    The stream does not need that memory, so its users are told and carry on.

    Parameters
    ----------
    N, T, C, nsamples
        Cells, features, groups and samples.
    budget
        What this process may use; detected if not given. What is detected counts only where psutil is there to look.
    **options
        Passed on to `streamsample.estimate.predictive_estimate`.
    """
    try:
        return memory_lines(predictive_estimate(N, T, C, nsamples, budget=budget, **options))
    except BudgetError as error:
        return [f"[MEMORY] {error}"]


def budget_lines(budget: Budget) -> list[str]:
    """Write every limit found, one a line, and which of them decides."""
    width = max((len(statement.name) for statement in budget.sources), default=0)
    lines = [_source_line(statement, width, statement.name == budget.tightest) for statement in budget.sources]
    kind = "dedicated" if budget.dedicated else "shared"
    return [
        *lines,
        f"memory: {format_bytes(budget.nbytes)}, by {budget.tightest}"
        + (" (stated by the user; it takes the place of all other limits)" if budget.overridden else ""),
        f"to plan with: {format_bytes(budget.allowed())}, safety factor {budget.safety_factor():g} ({kind})",
        f"CPUs: {budget.cpus}",
    ]


def announce(lines: Iterable[str]) -> None:
    """Show lines to the user: through the logger ``streamsample``, or on stderr where nobody listens to it.

    To silence them, set the level of that logger above INFO.
    """
    logger = logging.getLogger("streamsample")
    heard = logger.isEnabledFor(logging.INFO) and _has_handlers(logger)
    # The root logger's default level, WARNING, is nobody's choice: only a level set on "streamsample" itself is.
    silenced = logger.level > logging.INFO or logger.disabled or logging.root.manager.disable >= logging.INFO
    for line in lines:
        if heard:
            logger.info("%s", line)
        elif not silenced:
            sys.stderr.write(line + "\n")


def _limit_lines(budget: Budget) -> list[str]:
    """Say which limit decides, and what the host reports beside it."""
    tightest = next((statement for statement in budget.sources if statement.name == budget.tightest), None)
    host = next((statement for statement in budget.sources if statement.name in _PHYSICAL), None)
    slurm = [] if budget.overridden else [(s.nbytes or 0, s.says) for s in budget.sources if _is_slurm(s)]
    smallest = sorted(slurm, key=lambda stated: stated[0])[:1]  # the variable's own words, where scontrol agrees
    lines = [f"[MEMORY] SLURM allocation: {says} = {_gib(nbytes)}" for nbytes, says in smallest]
    if tightest is not None and _is_slurm(tightest):
        lines.append(f"[MEMORY] Using SLURM allocation limit: {_gib(budget.nbytes)}")
    elif _SLURM_GROUP.search(budget.tightest):
        # The same allocation, less what the job's other processes hold.
        lines.append(f"[MEMORY] Using SLURM allocation limit: {_gib(budget.nbytes)} ({budget.tightest})")
    elif tightest is not None and tightest.name in _PHYSICAL:
        lines.append(f"[MEMORY] Using available memory: {_gib(budget.nbytes)} ({tightest.name})")
    else:
        name = "budget" if budget.tightest == "given" else budget.tightest
        over = "; takes the place of all limits found" if budget.overridden else ""
        lines.append(f"[MEMORY] Using {name} limit: {_gib(budget.nbytes)}{over}")
    if host is not None and host is not tightest:
        lines.append(f"[MEMORY] ({host.name} reports {host.says}, but that may be the full node)")
    return lines


def _safety_reason(room: Room, budget: Budget) -> str:
    if room.safety_given:
        return "given"
    if budget.overridden:
        return f"memory stated by {budget.tightest}"
    if not budget.dedicated:
        return "shared node"
    if any(_is_slurm(statement) for statement in budget.sources):
        return "dedicated SLURM allocation"
    cgroup = any(statement.kind == "cgroup" and statement.nbytes is not None for statement in budget.sources)
    return "dedicated cgroup allocation" if cgroup else "dedicated allocation"


def _parallel_lines(estimate: PredictiveEstimate, room: Room) -> list[str]:
    if not estimate.use_parallel:
        return [f"[MEMORY] Parallel execution would need {_gib(room.parallel_nbytes)}; using parallel=False"]
    return [
        f"[MEMORY] Estimated with parallel=True ({room.workers} workers): {_gib(room.parallel_nbytes)}",
        "[MEMORY] Parallel execution fits within safe limit",
    ]


def _batch_lines(estimate: PredictiveEstimate, room: Room) -> list[str]:
    parallel = f"(parallel={estimate.use_parallel})"
    if estimate.minibatch_size is None:
        return [
            f"[MEMORY] All {estimate.nsamples} samples fit in one batch",
            f"[MEMORY] Estimated memory per batch: {_gib(estimate.batch_nbytes)}",
            f"[INFO] Running Predictive with all {estimate.nsamples} samples {parallel}...",
        ]
    capped = f" (capped at {estimate.minibatch_size})" if estimate.minibatch_size < room.fitting else ""
    return [
        f"[MEMORY] Auto-setting minibatch_size={estimate.minibatch_size}{capped}",
        f"[MEMORY] This will require {estimate.nbatches} batches",
        f"[MEMORY] Estimated memory per batch: {_gib(estimate.batch_nbytes)}",
        f"[INFO] Running Predictive in minibatches of {estimate.minibatch_size} {parallel}...",
    ]


def _source_line(statement: Statement, width: int, decides: bool) -> str:
    comes_to = [] if statement.nbytes is None else [format_bytes(statement.nbytes)]
    comes_to += [] if statement.cpus is None else [f"{statement.cpus} CPU{'s' * (statement.cpus != 1)}"]
    mark = "  <- decides about memory" if decides else ""
    figure = ", ".join(comes_to) or "no limit"
    says = "" if statement.says == figure else f"  ({statement.says})"
    return f"{statement.name:<{width}}  {figure:>12}{says}{mark}"


def _is_slurm(statement: Statement) -> bool:
    return statement.nbytes is not None and statement.name.startswith(("SLURM_", "scontrol"))


def _has_handlers(logger: logging.Logger | None) -> bool:
    """Tell whether anything but a null handler receives what a logger is given."""
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _gib(nbytes: int, digits: int = 1) -> str:
    return f"{nbytes / GIB:.{digits}f} GiB"
