"""Memory that gets short while a run is under way: what is read, and how the rest of the run is cut then."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsample.budget import Budget
from streamsample.budget.host import process_nbytes
from streamsample.budget.slurm import MEMORY_VARIABLES
from streamsample.errors import BudgetError
from streamsample.memory_model import NOT_MAPPED
from streamsample.sizing import Plan
from streamsample.units import format_bytes

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_READINGS = 0.1
"""A reading takes 0.7 ms where the groups are few: below 1 % of a run, however small its slabs have become."""
TOLERANCE = 1 / 16
"""A limit that has fallen by less has not: what neighbours in the same group hold comes and goes."""
FEW_CELLS = 512
"""Slabs of fewer cells cost more, in tables of the kernel's, than waiting for each write does."""

# Without a job's name its controller is not asked either: nothing to wait for between two slabs.
_CONSTANT = frozenset({"STREAMSAMPLE_MEMORY", "SLURM_JOB_ID", *MEMORY_VARIABLES})


@dataclass(frozen=True)
class Reading:
    """Memory at one moment."""

    used_nbytes: int
    """Anonymous and shared memory of this process."""
    limit_nbytes: int
    """What it may come to hold, by the tightest of the limits found."""
    source: str
    """Name of that limit."""


def read_memory(environ: Mapping[str, str] = os.environ, root: str | Path = "/") -> Reading:
    """Read what is used, and all limits that can change while a process runs.

    What a variable says stays as it was when the run was planned. A budget that the user states takes the place of
    the limits that were there then, but not of those that come later.
    """
    others = {name: value for name, value in environ.items() if name not in _CONSTANT}
    used = process_nbytes(root)
    try:
        found = Budget.detect(others, root)
    except BudgetError:  # no limit is stated anywhere
        return Reading(used, sys.maxsize, "no limit")
    return Reading(used, found.nbytes, found.tightest)


def allowed_now(plan: Plan, first: Reading, now: Reading) -> int:
    """Bytes that the rest of a run may hold: as planned, or less where the limits have fallen since it was planned.

    Where the budget was stated by hand, they count from the start of the run.
    A group's limit is read less what is held there by others, among which are this run's own dirty pages, and its
    output where that is in memory.
    """
    own = sum(quantity.nbytes for quantity in plan.quantities if quantity.name in NOT_MAPPED)
    before = first.limit_nbytes if plan.limit_nbytes is None else plan.limit_nbytes
    if now.limit_nbytes + own >= before * (1 - TOLERANCE):
        return plan.allowed_nbytes
    return min(plan.allowed_nbytes, int(plan.safety_factor * now.limit_nbytes))


def relieved(plan: Plan, used_nbytes: int, allowed_nbytes: int) -> Plan:
    """Return the plan if it still fits, else the coarsest one that does, else the smallest there is.

    Parameters
    ----------
    plan
        How the run is cut now.
    used_nbytes
        Memory in use; more than the plan forecasts means that the forecast was too low by so much.
    allowed_nbytes
        What may be in use.
    """
    excess = max(plan.peak_nbytes, used_nbytes) - allowed_nbytes
    if excess <= 0:
        return plan
    best = plan
    for finer in _finer(plan):
        if finer.peak_nbytes < best.peak_nbytes:
            best = finer
        if plan.peak_nbytes - best.peak_nbytes >= excess:
            break
    return best


def _finer(plan: Plan) -> Iterator[Plan]:
    """Plans that hold less and less: each time, what takes most is halved."""
    while True:
        held = {quantity.name: quantity.nbytes for quantity in plan.quantities}
        steps = [_smaller_slabs, _smaller_minibatch]
        if held["minibatch"] > held["slabs"]:
            steps.reverse()
        finer = next((made for step in steps if (made := step(plan)) is not None), None)
        if finer is None:
            return
        plan = finer
        yield plan


def _smaller_slabs(plan: Plan) -> Plan | None:
    """Halve the slab, first its samples, then its cells; before it has few of them, write without overlap."""
    samples, cells = plan.slab_unit
    if plan.slab_samples > samples:
        return plan.recut(plan.minibatch, _half(plan.slab_samples, samples), plan.slab_cells, plan.slabs_in_flight)
    if plan.slab_cells <= max(cells, FEW_CELLS) and plan.slabs_in_flight > 1:
        return plan.recut(plan.minibatch, plan.slab_samples, plan.slab_cells, 1)
    if plan.slab_cells > cells:
        return plan.recut(plan.minibatch, plan.slab_samples, _half(plan.slab_cells, cells), plan.slabs_in_flight)
    return None


def _smaller_minibatch(plan: Plan) -> Plan | None:
    """Halve the minibatch, which can't be less than a slab."""
    minibatch = max(_half(plan.minibatch, plan.slab_unit[0]), plan.slab_samples)
    if minibatch >= plan.minibatch:
        return None
    return plan.recut(minibatch, plan.slab_samples, plan.slab_cells, plan.slabs_in_flight)


def _half(size: int, unit: int) -> int:
    """Half of a size, rounded up to whole units."""
    return -(-size // (2 * unit)) * unit


class Watch:
    """Looks at the memory again and again during a run, and cuts the rest of it finer where that is short.

    Parameters
    ----------
    read
        Reads memory and limits.
    interval_seconds
        Time from one reading to the next, at least.
    """

    def __init__(
        self, read: Callable[[], Reading] = read_memory, interval_seconds: float = SECONDS_BETWEEN_READINGS
    ) -> None:
        self._read = read
        self._interval = interval_seconds
        self._last = time.monotonic()
        self._first = read()
        self.allowed = 0
        """Bytes that the run may hold, by the latest reading."""

    def begin(self, plan: Plan) -> Plan:
        """Do what `relieve` does before the first slab, where limits have fallen since the plan was made.

        Where they have not, a plan that was made larger by hand stays as it is.
        """
        self.allowed = allowed_now(plan, self._first, self._first)
        return plan if self.allowed == plan.allowed_nbytes else self._fitting(plan, self._first)

    def relieve(self, plan: Plan) -> Plan:
        """Return `plan` itself, or a smaller one where memory is short, and say so in one line."""
        if time.monotonic() - self._last < self._interval:
            return plan
        now = self._read()
        self._last = time.monotonic()
        return self._fitting(plan, now)

    def _fitting(self, plan: Plan, now: Reading) -> Plan:
        """Cut a plan finer where a reading says that memory is short."""
        self.allowed = allowed_now(plan, self._first, now)
        smaller = relieved(plan, now.used_nbytes, self.allowed)
        if smaller is not plan:
            _log(plan, smaller, now, self.allowed)
        return smaller


def _log(plan: Plan, smaller: Plan, now: Reading, allowed: int) -> None:
    """One line: what is short, and what is done about it."""
    logger.warning(
        "memory is short: %s planned and %s in use, but %s allowed (%s: %s); from here on slabs of %s instead of %s, "
        "%d at a time, and minibatches of %d instead of %d: %s planned",
        format_bytes(plan.peak_nbytes), format_bytes(now.used_nbytes), format_bytes(allowed),
        now.source, format_bytes(now.limit_nbytes), format_bytes(smaller.slab_nbytes), format_bytes(plan.slab_nbytes),
        smaller.slabs_in_flight, smaller.minibatch, plan.minibatch, format_bytes(smaller.peak_nbytes),
    )  # fmt: skip
