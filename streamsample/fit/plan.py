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
class Side:
    """Memory that a fit takes from one place: this process, or a device with memory of its own."""

    name: str
    """Of the device; empty for this process."""
    allowed: int
    """Safety factor x what it has, in bytes."""
    why: str
    """Where that comes from."""
    on_device: bool | None = None
    """Which of the quantities it holds, those on the device or the others; None: all, as there is no other side."""

    @property
    def where(self) -> str:
        """What to say after its bytes."""
        return f" of {self.name}" if self.on_device else ""

    def part(self, quantities: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
        """Return the quantities that it holds."""
        if self.on_device is None:
            return quantities
        return tuple(quantity for quantity in quantities if (quantity.name in FIT_ON_DEVICE) == self.on_device)

    def nbytes(self, quantities: tuple[Quantity, ...]) -> int:
        """Sum of its part, with what the allocator keeps beside it."""
        total = sum(quantity.nbytes for quantity in self.part(quantities))
        return total + allocator_quantity(total).nbytes

    def holds(self, quantities: tuple[Quantity, ...]) -> bool:
        """Tell whether its part fits."""
        return self.nbytes(quantities) <= self.allowed


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
    device: Side | None = None
    """The device where torch computes, if it has memory of its own."""

    @property
    def subsampled(self) -> bool:
        """Whether steps take some of the cells only."""
        return self.cells < self.facts.ncells

    @property
    def peak_nbytes(self) -> int:
        """Predicted peak of anonymous memory of this process, in bytes."""
        return max(self._here.nbytes(quantities) for quantities in self.phases.values())

    @property
    def device_peak_nbytes(self) -> int:
        """Predicted peak of the memory of a device that has its own, in bytes."""
        if self.device is None:
            return 0
        return max(self.device.nbytes(quantities) for quantities in self.phases.values())

    @property
    def _here(self) -> Side:
        return Side("", self.allowed_nbytes, self.allowed_why, None if self.device is None else False)

    @property
    def _sides(self) -> tuple[Side, ...]:
        return (self._here,) if self.device is None else (self._here, self.device)

    def tell(self) -> None:
        """Show how the memory decides: a line where steps can't take all cells; the table at DEBUG."""
        logger.debug("%s", self.explain())
        if self.subsampled:
            full = fit_phases(self.facts, self.baseline, self.threads, self.facts.ncells, BLOCK)["fitting"]
            short = next((side for side in self._sides if not side.holds(full)), self._here)
            takes = short.nbytes(self.phases["fitting"])
            announce(
                [
                    f"[MEMORY] A fit of all {self.facts.ncells:,} cells at once would need "
                    f"{format_bytes(short.nbytes(full))}{short.where} but {format_bytes(short.allowed)} are allowed "
                    f"({short.why}): each step takes {self.cells:,} cells, drawn anew, for {format_bytes(takes)}, and "
                    "every step is taken"
                ]
            )

    def explain(self) -> str:
        """Return the quantities of each phase as a table of plain text."""
        lines = [f"Fit: {self.cells:,} of {self.facts.ncells:,} cells in a step, {self.minibatch} draws at a time"]
        for phase, quantities in self.phases.items():
            lines.append(f"Memory while {phase}")
            for side in self._sides:
                part, label = side.part(quantities), f"{side.name or 'process'} sum" if self.device else "sum"
                lines += [f"  {q.name:<15}{format_bytes(q.nbytes):>11}  {q.why}" for q in part if q.nbytes]
                lines.append(f"  {label:<15}{format_bytes(side.nbytes(quantities)):>11}  with what malloc keeps")
        allowed = [f"  {'allowed':<15}{format_bytes(side.allowed):>11}  {side.why}" for side in self._sides]
        return "\n".join([*lines, *allowed])


@dataclass(frozen=True)
class _Room:
    """What the quantities must fit into: this process's budget, and the device's memory if it has its own."""

    sides: tuple[Side, ...]

    @classmethod
    def of(cls, budget: Budget, safety_factor: float | None, device: Statement | None) -> _Room:
        factor, process = budget.safety_factor(safety_factor), budget.allowed(safety_factor)
        why = f"{budget.tightest}, safety {factor:g}"
        if device is None or device.nbytes is None:
            return cls((Side("", process, why),))
        there = Side(device.name, int(factor * device.nbytes), f"{device.says}, safety {factor:g}", True)
        return cls((Side("", process, why, False), there))

    def lacking(self, quantities: tuple[Quantity, ...]) -> Side | None:
        """Return the side that has no room for its part."""
        return next((side for side in self.sides if not side.holds(quantities)), None)

    def lacks(self, phases: Phases) -> tuple[str, Side] | None:
        """Name the first phase that does not fit, and the side that has no room for it."""
        lacking = ((phase, self.lacking(quantities)) for phase, quantities in phases.items())
        return next(((phase, side) for phase, side in lacking if side is not None), None)


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
    minibatch = next((size for size in draws if room.lacking(phases(least, size)["drawing"]) is None), draws[-1])
    lack = room.lacks(phases(least, minibatch))
    if lack is not None:
        short, side = lack
        need = side.nbytes(phases(least, minibatch)[short])
        way_out = _way_out(facts, short, side, baseline, lambda of: room.lacks(phases(least, BLOCK, of)) is None)
        raise BudgetError(
            f"the fit needs at least {format_bytes(need)}{side.where} while {short} but {format_bytes(side.allowed)} "
            f"are allowed ({side.why}); {way_out}"
            f"{'' if minibatch_size is None else ', with a smaller minibatch_size='}"
        )
    cells = facts.ncells
    if room.lacking(phases(cells, minibatch)["fitting"]) is not None:
        cells = _largest(least, cells, lambda n: room.lacking(phases(n, minibatch)["fitting"]) is None)
    here, there = room.sides[0], room.sides[1] if room.sides[1:] else None
    allowed_why = f"{format_bytes(budget.nbytes)} ({here.why})"
    chosen = phases(cells, minibatch)
    return FitPlan(facts, cells, threads, minibatch, baseline, chosen, here.allowed, allowed_why, there)


def _way_out(facts: FitFacts, short: str, side: Side, baseline: int, fits: Callable[[FitFacts], bool]) -> str:
    """Say how many samples or features would fit, with the smallest cells and draws at a time."""
    give = "give device='cpu', a device with more memory" if side.on_device else "give more memory"
    if short == "drawing" and fits(replace(facts, nsamples=1)):
        nsamples = _largest(1, facts.nsamples, lambda n: fits(replace(facts, nsamples=n)))
        return f"{give}, or nsamples={nsamples}"

    def part(nfeatures: int) -> FitFacts:
        share = nfeatures / facts.nfeatures
        return replace(facts, nfeatures=nfeatures, nnz=int(facts.nnz * share), npairs=int(facts.npairs * share))

    if not fits(part(1)):
        beside = "" if side.on_device else f" beside the {format_bytes(baseline)} that the process holds"
        return f"{give}: no feature would fit{beside}"
    return f"{give}, or about {_largest(1, facts.nfeatures, lambda t: fits(part(t))):,} features"


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
