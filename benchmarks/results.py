"""Results of a run of the benchmarks, as pytest-benchmark's JSON holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread


@dataclass(frozen=True)
class Result:
    """One benchmark."""

    group: str
    name: str
    """Its parameter, such as a workload's name."""
    seconds: list[float]
    """Time of each round."""
    info: dict[str, Any]
    """What the benchmark told: counts, rates of its rivals, and facts."""

    @property
    def rates(self) -> list[float]:
        """Counts a second of each round."""
        return [self.info["counts"] / seconds for seconds in self.seconds]

    @property
    def rate(self) -> Spread:
        """Counts a second."""
        return Spread.of(self.rates)

    def rival(self, name: str) -> Spread:
        """Counts a second of a rival."""
        return Spread.of(self.info["rates"][name])

    def over(self, name: str) -> Spread:
        """Ratio to a rival, round by round."""
        return Spread.of_ratio(self.rates, self.info["rates"][name])


@dataclass(frozen=True)
class Results:
    """All benchmarks of a run, and the machine."""

    results: list[Result]
    machine: dict[str, Any]
    commit: str
    """Of the sources, with a mark if they were changed."""
    date: str

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read the JSON."""
        told = json.loads(path.read_text(encoding="utf-8"))
        results = [
            Result(one["group"], one["param"] or one["name"], one["stats"]["data"], one["extra_info"])
            for one in told["benchmarks"]
        ]
        commit = told.get("commit_info") or {}
        label = str(commit.get("id", "unknown"))[:10] + (" and changes" if commit.get("dirty") else "")
        return cls(results, told["machine_info"], label, told["datetime"][:10])

    def of(self, group: str) -> Iterator[Result]:
        """Benchmarks of a group, in the order they ran."""
        return (result for result in self.results if result.group == group)
