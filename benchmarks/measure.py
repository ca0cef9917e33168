"""How rates are measured: rivals take turns in one process, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True)
class Task:
    """Something that makes counts."""

    run: Callable[[], object]
    ncounts: int
    """Counts that one run makes."""

    def rate(self) -> float:
        """Run once; counts a second."""
        start = time.perf_counter()
        self.run()
        return self.ncounts / (time.perf_counter() - start)


@dataclass(frozen=True)
class Spread:
    """Median and extremes of a quantity over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratio(cls, above: Sequence[float], below: Sequence[float]) -> Spread:
        """Summarise the ratios of values that were measured in turn."""
        return cls.of([a / b for a, b in zip(above, below, strict=True)])

    def show(self, scale: float = 1.0) -> str:
        """Return ``median (low-high)`` in units of ``1 / scale``, with three digits or so."""
        size = abs(self.median * scale)
        digits = 0 if size >= 100 else 1 if size >= 1 else 2
        median, low, high = (f"{value * scale:,.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ({low}-{high})"


def take_turns(tasks: Mapping[str, Task], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Rates of each task over rounds in which all of them run once, after one that is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            rates[name].append(task.rate())
    return {name: values[1:] for name, values in rates.items()}
