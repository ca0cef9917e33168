"""The kernel by workload, by type and by number of threads, beside NumPy and beside its roof."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Race
from benchmarks.designs import designed, inflated
from benchmarks.peers import NUMPY_COUNTS, numpy_task
from benchmarks.roof import words_task
from benchmarks.slabs import BenchSlab
from benchmarks.tiers import shares
from benchmarks.workloads import REAL, SMALL, WORKLOADS, Workload
from streamsample.posterior import Posterior

Check = Callable[[BenchSlab], None]
Get = Callable[[str], Posterior]

FEW = 20_000
"""Counts that NumPy makes in a test."""
SECOND_MUST = 1 / 3
"""Least rate with a design of eight columns, of that with groups alone."""


@pytest.mark.benchmark(group="kernel")
@pytest.mark.parametrize("name", [*WORKLOADS, *REAL])
def test_workload(
    name: str, workload: Get, race: Race, check: Check, small: bool, all_threads: int, benchmark: BenchmarkFixture
) -> None:
    """One thread against NumPy, Philox words alone, and all threads."""
    posterior = workload(name)
    slab = BenchSlab(posterior)
    rivals = {"numpy": numpy_task(posterior, FEW if small else NUMPY_COUNTS), "roof": words_task(slab, 1)}
    if all_threads > 1:
        rivals["threads"] = slab.task(all_threads)
    chosen = WORKLOADS.get(name) or REAL[name]
    share = None if small else shares(slab)
    facts = {
        "must": chosen.must,
        "goal": chosen.goal,
        "threads": all_threads,
        "scalar": share and share.scalar,
        "waited": share and share.waited,
    }
    race(slab.task(1), rivals, shape=slab.out.shape, dtype=str(slab.out.dtype), **facts)
    check(slab)
    benchmark.extra_info.update(mean=float(slab.out.mean()), zeros=float((slab.out == 0).mean()))


@pytest.mark.benchmark(group="second")
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("kind", ["design", "zero inflation"])
def test_second_version(name: str, kind: str, race: Race, check: Check, small: bool) -> None:
    """What a design or zero inflation costs, against the same posterior without, in the same type."""
    shape = SMALL if small else WORKLOADS[name].shape
    made = (designed if kind == "design" else inflated)(WORKLOADS[name], shape)
    slab = BenchSlab(made, "uint32")
    grouped = BenchSlab(WORKLOADS[name].posterior(shape), "uint32")
    race(
        slab.task(1),
        {"grouped": grouped.task(1)},
        workload=name,
        kind=kind,
        must=SECOND_MUST if kind == "design" else None,
    )
    check(slab)


@pytest.mark.benchmark(group="dtype")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_dtype(dtype: str, race: Race, check: Check, small: bool) -> None:
    """One posterior, all of whose counts fit in a byte, in each type."""
    shape = (1, 64, 600) if small else (1, 4096, 16_384)
    slab = BenchSlab(Workload("bytes", shape, (-1.5, 0.7), (3.0, 0.3)).posterior(), dtype)
    race(slab.task(1), {"roof": words_task(slab, 1)}, dtype=dtype, shape=shape)
    check(slab)


@pytest.mark.benchmark(group="mean")
@pytest.mark.parametrize("mean", [0.01, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4])
def test_mean(mean: float, race: Race, check: Check, small: bool) -> None:
    """Features of about one mean, against NumPy."""
    shape = (1, 64, 600) if small else (1, 4096, 1024)
    posterior = Workload(f"mean {mean:g}", shape, (math.log(mean), 0.3), (0.5, 1.0)).posterior()
    slab = BenchSlab(posterior)
    race(slab.task(1), {"numpy": numpy_task(posterior, FEW if small else 500_000)}, mean=mean)
    check(slab)
