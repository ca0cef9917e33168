"""The page and the pictures can be made of any results, and tell what was missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots, report, tables
from benchmarks.measure import Spread, Task, take_turns
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS


def benchmark(
    group: str, param: str, seconds: float = 0.1, rates: dict[str, float] | None = None, /, **info: Any
) -> Any:
    """One benchmark as pytest-benchmark writes it: three rounds, 10 million counts each."""
    info |= {"counts": 10_000_000, "rates": {name: [rate] * 3 for name, rate in (rates or {}).items()}}
    data = [seconds, 2 * seconds, seconds / 2]
    return {"group": group, "name": param, "param": param, "stats": {"data": data}, "extra_info": info}


@pytest.fixture
def told() -> dict[str, Any]:
    """A run in which a count takes 10 ns, and NumPy is five times slower."""
    kernel: dict[str, Any] = {
        "shape": [1, 100, 1000],
        "dtype": "uint16",
        "threads": 2,
        "scalar": 1e-4,
        "waited": 0.05,
        "mean": 0.75,
        "zeros": 0.73,
    }
    rates = {"numpy": 2e7, "roof": 4e8, "threads": 1.9e8}
    benchmarks = [
        benchmark("kernel", name, 0.1, rates, must=load.must, goal=load.goal, **kernel)
        for name, load in WORKLOADS.items()
    ]
    benchmarks += [
        benchmark("second", f"{kind}-deep", 0.1, {"grouped": 4e8}, workload="deep", kind=kind, must=must)
        for kind, must in (("design", 1 / 3), ("zero inflation", None))
    ]
    benchmarks += [benchmark("dtype", "uint8", 0.1, {"roof": 2e9})]
    slab: dict[str, Any] = {
        "slab_samples": 1,
        "slab_cells": 64,
        "slab_nbytes": 2**20,
        "threads": 2,
        "shape": [256, 1024, 1000],
    }
    benchmarks += [benchmark("batch", f"{size}-1-1", minibatch=size, **slab) for size in (1, 256)]
    benchmarks += [benchmark("batch of Pyro", str(size), 3.0, minibatch=size) for size in (1, 256)]
    benchmarks += [benchmark("mean", str(mean), 0.1, {"numpy": 1e7}, mean=mean) for mean in (0.1, 10.0)]
    benchmarks += [benchmark("peers", "deep", 0.1, {"NumPy": 1e7, "torch": 9e6})]
    benchmarks += [benchmark("libraries", "NumPyro Predictive", 0.1, {"theirs": 1e6})]
    benchmarks += [benchmark("virtual", "one feature", 0.1, {".h5": 4e8, ".zarr": 1e7}, slices=10)]
    disk: dict[str, Any] = {"nbytes": 20_000_000, "filesystem": "ext4"}
    benchmarks += [benchmark("stores", ".h5", 0.1, {"memory": 3e8, "disk": 1e8}, stored=20_004_000, **disk)]
    benchmarks += [benchmark("stores", ".zarr", 0.1, {"memory": 3e8, "encoder": 3e8}, stored=1_800_000, **disk)]
    benchmarks += [benchmark("stores", ".h5 lz4", 0.1, {"memory": 3e8, "encoder": 1.2e8}, stored=2_490_000, **disk)]
    benchmarks += [benchmark("files", ".zarr", 0.1, {"Dask to Zarr": 1.2e7})]
    benchmarks += [benchmark("fit", "sc_mixology", 0.1, {"plain": 2e7}, shape=[1000, 10_000])]
    benchmarks += [benchmark("draw", "8-True", minibatch=8, parallel=True)]
    benchmarks += [
        benchmark("start", "cold", 20.0, state="cold", seconds={"imports": [0.2], "first call": [15.0]}),
        benchmark("start", "cached", 0.5, state="cached", seconds={"imports": [0.2], "first call": [0.3]}),
        benchmark("start", "read", 0.4, state="1,000 counts by the twin"),
    ]
    for axis in range(3):
        for size in (10, 100, 1000):
            shape = [size if i == axis else 50 for i in range(3)]
            benchmarks.append(benchmark("scaling", str(size), size / 1e4, axis="SNT"[axis], shape=shape))
    cpu = {"brand_raw": "A processor", "count": 2, "flags": ["avx2"]}
    machine = {"cpu": cpu, "system": "Linux", "release": "6", "python_version": "3.11", "load": 2.0}
    commit = {"id": "0123456789abcdef", "dirty": False}
    return {"benchmarks": benchmarks, "machine_info": machine, "commit_info": commit, "datetime": "2026-01-02T03:04"}


@pytest.fixture
def results(told: dict[str, Any], tmp_path: Path) -> Results:
    """The same, read back."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return Results.read(path)


def test_rates_and_ratios_are_medians_over_rounds(results: Results) -> None:
    """Of 10 million counts in 0.1, 0.2 and 0.05 s."""
    one = next(results.of("kernel"))
    assert one.rate == Spread(1e8, 5e7, 2e8)
    assert one.over("numpy") == Spread(5.0, 2.5, 10.0)
    assert one.over("numpy").show() == "5.0 (2.5-10.0)"


def test_what_was_missed_is_told(results: Results) -> None:
    """A ratio of 5 is enough for three of the workloads, two threads and the roof; 15 s are too long."""
    assert tables.misses(results) == [
        "single_cell over NumPy: 5 x, must 20 x",
        "sparse over NumPy: 5 x, must 30 x",
        "few_cells over NumPy: 5 x, must 12 x",
        "deep with 8 covariates, of groups alone: 0.25 x, must 0.333 x",
        ".zarr of what kernel and encoder leave possible: 0.667 x, must 0.8 x",
        ".zarr over Dask to Zarr: 8.33 x, must 10 x",
        ".h5 lz4: 0.249 bytes a count, at most 0.24",
        "one feature, computed: 4 x the cost of decoding it from a .h5, at most 3 x",
        "start, cold: 15.00 s, must 12 s",
    ]


def test_the_page_has_every_section(results: Results) -> None:
    """Rows, verdicts, the machine and the exponent of the cost."""
    page = report.page(results)
    assert "- sparse over NumPy: 5 x, must 30 x" in page
    assert "| single_cell | 1 x 100 x 1,000 | 0.75 | 73% | uint16 | 100 (50-200) | 20.0 (20.0-20.0) |" in page
    assert "| heavy_tail |" in page
    assert "| deep | 400 (400-400) | 100 (50-200) | 0.25 (0.12-0.50) | 0.33 | **missed** | 100 (50-200) |" in page
    assert "| .h5 | 100 (50-200) | 300 (300-300) | disk 100 (100-100) | 1.2 (0.6-2.5) | 1 | must met | 2.000 |" in page
    assert "| 0.67 (0.33-1.33) | 0.8 | **missed** | 0.180 | goal met | ext4 |" in page
    assert "| .zarr | Dask to Zarr | 100 (50-200) | 12.0 (12.0-12.0) | 8.3 (4.2-16.7) | **missed** |" in page
    assert "| NumPyro Predictive | 100 (50-200) | 1.0 (1.0-1.0) | 100 x |" in page
    assert (
        "| one feature | 1,000,000 | 10.00 | 2.50 | 100.00 | 4.0 (2.0-8.0) | 0.10 (0.05-0.20) | 3 | **missed** |"
        in page
    )
    assert "| sc_mixology | 1,000 x 10,000 | 100.0 | 500.0 | 5.0 (2.5-10.0) | 3 | must met |" in page
    assert "A processor, 2 CPUs, widest vectors: avx2" in page
    assert "2.0, so that it was not idle" in page
    assert page.count("| 1.000 |") == 3
    assert "{" not in page


def test_the_pictures_are_drawn(results: Results, tmp_path: Path) -> None:
    """One a question."""
    plots.draw_all(results, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"bench-batch.png", "bench-mean.png", "bench-peers.png"}


def test_rivals_take_turns() -> None:
    """The first round is not counted."""
    order: list[str] = []
    tasks = {name: Task(lambda name=name: order.append(name), 10) for name in "ab"}  # type: ignore[misc]
    rates = take_turns(tasks, 2)
    assert order == ["a", "b"] * 3
    assert {name: len(values) for name, values in rates.items()} == {"a": 2, "b": 2}
