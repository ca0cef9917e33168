"""Sizes, threads and the stopwatch that all benchmarks share.

Every benchmark is a test as well: without ``--benchmark-enable`` it runs once, on a few thousand counts, and what it
asserts of the counts is checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import ROUNDS, Task
from benchmarks.slabs import BenchSlab
from benchmarks.workloads import NotAtHandError, posterior_of
from streamsample.kernels.jit import threads_available
from streamsample.posterior import Posterior
from streamsample.run import numba_threads

Race = Callable[..., None]

LOAD_BEFOREHAND = os.getloadavg()[0]  # before anything has run


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add how busy the machine was; this is called when all has been run."""
    machine_info["load"] = LOAD_BEFOREHAND


@pytest.fixture(scope="session")
def small(pytestconfig: pytest.Config) -> bool:
    """Whether benchmarks run as tests: on small shapes, once."""
    return not pytestconfig.getoption("benchmark_enable")


@pytest.fixture(scope="session")
def all_threads() -> int:
    """Threads of this process."""
    return threads_available()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let a benchmark that does not say otherwise compute on one thread, as its rivals do."""
    with numba_threads(1):
        yield


@pytest.fixture
def workload(small: bool) -> Callable[[str], Posterior]:
    """Give a workload's posterior by its name, or skip the test with the reason why there is none."""

    def get(name: str) -> Posterior:
        try:
            return posterior_of(name, small=small)
        except NotAtHandError as reason:
            pytest.skip(str(reason))

    return get


@pytest.fixture
def race(benchmark: BenchmarkFixture, small: bool) -> Race:
    """Time a task over rounds; before each of them its rivals run once.

    ``race(task, rivals={name: task}, rounds=5, warm=True, **facts)``: a round that is not counted comes first, unless
    `warm` is False or it is a test. The rates of the rivals (a list a name, aligned with the task's rounds), the task's
    counts and the facts go into the result's ``extra_info``.
    """

    def run(
        task: Task, rivals: Mapping[str, Task] | None = None, rounds: int = ROUNDS, warm: bool = True, **facts: object
    ) -> None:
        rates: dict[str, list[float]] = {name: [] for name in rivals or {}}

        def rivals_first() -> None:
            for name, rival in (rivals or {}).items():
                rates[name].append(rival.rate())

        benchmark.pedantic(task.run, setup=rivals_first, rounds=rounds, warmup_rounds=int(warm and not small))
        benchmark.extra_info.update(facts)
        benchmark.extra_info["counts"] = task.ncounts
        benchmark.extra_info["rates"] = {name: values[-rounds:] for name, values in rates.items()}

    return run


@pytest.fixture
def check() -> Callable[[BenchSlab], None]:
    """Compare a slab that was filled with the stream's own counts, on a thin slice of it."""

    def compare(slab: BenchSlab) -> None:
        features = slice(None, None, max(1, slab.nfeatures // 40))
        cells = slice(None, None, max(1, slab.ncells // 20))
        assert (slab.out[:1, cells, features] == slab.stream[:1, cells, features]).all()

    return compare
