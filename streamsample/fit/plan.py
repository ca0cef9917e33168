"""How a fit is cut so that it fits: a pure decision."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamsample.budget import Budget, Statement
from streamsample.errors import BudgetError
from streamsample.fit.draw import BLOCK, whole_blocks
from streamsample.fit.memory import FIT_ON_DEVICE, FitFacts, fit_phases
from streamsample.memory_model import Quantity, allocator_quantity
from streamsample.report.memory import announce
from streamsample.units import format_bytes

logger = logging.getLogger(__name__)

LEAST_CELLS = 100
"""Cells of a step, if not all: with fewer the steps would mostly follow chance."""
MOST_DRAWS = 128
"""Draws in work at a time, if nobody asks for more: 8 make 46 M parameters/s, 32: 86, 128: 104, 512: 73."""

Phases = dict[str, tuple[Quantity, ...]]


@dataclass(frozen=True)
class FitPlan:
    """How a fit is cut, and what it will take; frozen."""

    facts: FitFacts
    """What is fitted."""
    cells: int
    """Cells of a step: all, or so many that are drawn anew for each step."""
    threads: int
    """Threads that torch may use."""
    minibatch: int
    """Draws in work at a time, whole blocks."""
    baseline: int
    """Bytes that the process held before."""
    phases: Phases
    """Everything held in memory in each phase, by name."""
    allowed_nbytes: int
    """Safety factor x budget."""
    allowed_why: str
    """Where that comes from."""

    @property
    def subsampled(self) -> bool:
        """Whether steps take some of the cells only."""
        return self.cells < self.facts.ncells

    @property
    def peak_nbytes(self) -> int:
        """Predicted peak of anonymous memory, in bytes; that of a device aside."""
        return max(_nbytes(quantities) for quantities in self.phases.values())

    def tell(self) -> None:
        """Show how the memory decides: a line where steps can't take all cells; the table at DEBUG."""
        logger.debug("%s", self.explain())
        if self.subsampled:
            full = _nbytes(fit_phases(self.facts, self.baseline, self.threads, self.facts.ncells, BLOCK)["fitting"])
            announce(
                [
                    f"[MEMORY] A fit of all {self.facts.ncells:,} cells at once would need {format_bytes(full)} but "
                    f"{format_bytes(self.allowed_nbytes)} are allowed ({self.allowed_why}): each step takes "
                    f"{self.cells:,} cells, drawn anew, for {format_bytes(self.peak_nbytes)}, and every step is taken"
                ]
            )

    def explain(self) -> str:
        """Return the quantities of each phase as a table of plain text."""
        lines = [f"Fit: {self.cells:,} of {self.facts.ncells:,} cells in a step, {self.minibatch} draws at a time"]
        for phase, quantities in self.phases.items():
            lines.append(f"Memory while {phase}")
            lines += [f"  {q.name:<15}{format_bytes(q.nbytes):>11}  {q.why}" for q in quantities if q.nbytes]
            lines.append(f"  {'sum':<15}{format_bytes(_nbytes(quantities)):>11}  with what malloc keeps")
        return "\n".join([*lines, f"  {'allowed':<15}{format_bytes(self.allowed_nbytes):>11}  {self.allowed_why}"])


@dataclass(frozen=True)
class _Room:
    """What the quantities must fit into: this process's budget, and the device's memory if it has its own."""

    process: int
    device: int | None
    why: str

    @classmethod
    def of(cls, budget: Budget, safety_factor: float | None, device: Statement | None) -> _Room:
        factor = budget.safety_factor(safety_factor)
        why = f"{budget.tightest}, safety {factor:g}"
        if device is None or device.nbytes is None:
            return cls(budget.allowed(safety_factor), None, why)
        return cls(budget.allowed(safety_factor), int(factor * device.nbytes), f"{why}; {device.name}: {device.says}")

    def holds(self, quantities: tuple[Quantity, ...]) -> bool:
        if self.device is None:
            return _nbytes(quantities) <= self.process
        there = tuple(quantity for quantity in quantities if quantity.name in FIT_ON_DEVICE)
        here = tuple(quantity for quantity in quantities if quantity.name not in FIT_ON_DEVICE)
        return _nbytes(here) <= self.process and _nbytes(there) <= self.device

    def lacks(self, phases: Phases) -> str | None:
        """Name the first phase that does not fit."""
        return next((phase for phase, quantities in phases.items() if not self.holds(quantities)), None)


def decide(
    facts: FitFacts,
    budget: Budget,
    *,
    baseline: int,
    threads: int = 1,
    minibatch_size: int | None = None,
    most_draws: int | None = None,
    safety_factor: float | None = None,
    device: Statement | None = None,
) -> FitPlan:
    """Choose the cells of a step and the draws in work so that each phase stays within safety factor x budget.

    A pure function of its arguments. All cells are taken if they fit, else as many as fit.

    Parameters
    ----------
    facts
        Sizes.
    budget
        Bytes that this process may come to hold.
    baseline
        Bytes that it holds already.
    threads
        Threads of torch.
    minibatch_size
        Draws in work as the user asked for; chosen if not given, at most `most_draws`.
    safety_factor
        Share of the budget that may be used.
    device
        Free memory of the device where torch computes, if it is not this process's.

    Raises
    ------
    BudgetError
        If the least does not fit; says what would.
    """
    room, least = _Room.of(budget, safety_factor, device), min(LEAST_CELLS, facts.ncells)

    def phases(cells: int, minibatch: int, of: FitFacts = facts) -> Phases:
        return fit_phases(of, baseline, threads, cells, minibatch)

    draws = _halvings(min(most_draws or MOST_DRAWS, MOST_DRAWS), facts.nsamples)
    if minibatch_size is not None:
        draws = [_blocks(minibatch_size, facts.nsamples)]
    minibatch = next((size for size in draws if room.holds(phases(least, size)["drawing"])), draws[-1])
    short = room.lacks(phases(least, minibatch))
    if short is not None:
        need = _nbytes(phases(least, minibatch)[short])
        way_out = _way_out(facts, short, baseline, lambda of: room.lacks(phases(least, BLOCK, of)) is None)
        raise BudgetError(
            f"the fit needs at least {format_bytes(need)} while {short} but {format_bytes(room.process)} are allowed "
            f"({room.why}); {way_out}{'' if minibatch_size is None else ', with a smaller minibatch_size='}"
        )
    cells = facts.ncells
    if not room.holds(phases(cells, minibatch)["fitting"]):
        cells = _largest(least, cells, lambda n: room.holds(phases(n, minibatch)["fitting"]))
    allowed_why = f"{format_bytes(budget.nbytes)} ({room.why})"
    return FitPlan(facts, cells, threads, minibatch, baseline, phases(cells, minibatch), room.process, allowed_why)


def _way_out(facts: FitFacts, short: str, baseline: int, fits: Callable[[FitFacts], bool]) -> str:
    """Say how many samples or features would fit, with the smallest cells and draws at a time."""
    if short == "drawing" and fits(replace(facts, nsamples=1)):
        nsamples = _largest(1, facts.nsamples, lambda n: fits(replace(facts, nsamples=n)))
        return f"give more memory, or nsamples={nsamples}"

    def part(nfeatures: int) -> FitFacts:
        share = nfeatures / facts.nfeatures
        return replace(facts, nfeatures=nfeatures, nnz=int(facts.nnz * share), npairs=int(facts.npairs * share))

    if not fits(part(1)):
        return f"give more memory: beside the {format_bytes(baseline)} that the process holds no feature would fit"
    return f"give more memory, or about {_largest(1, facts.nfeatures, lambda t: fits(part(t))):,} features"


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Largest number from `low`, which fits, up to `high` that fits."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _blocks(draws: int, nsamples: int) -> int:
    """Whole blocks of at most so many draws, one block at least; no more than hold all samples."""
    return whole_blocks(draws if draws < nsamples else None, nsamples)


def _halvings(draws: int, nsamples: int) -> list[int]:
    """List whole blocks from so many draws down to one block."""
    sizes = [_blocks(draws, nsamples)]
    while sizes[-1] > BLOCK:
        sizes.append(whole_blocks(sizes[-1] // 2, nsamples))
    return sizes


def _nbytes(quantities: tuple[Quantity, ...]) -> int:
    """Sum, with what the allocator keeps beside it."""
    total = sum(quantity.nbytes for quantity in quantities)
    return total + allocator_quantity(total).nbytes
