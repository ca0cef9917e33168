"""Start-up: the first counts of a fresh process, compiled, from the cache of compiled code, or without Numba."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.workloads import WORKLOADS

KERNEL = """
import json, sys, time
start = time.perf_counter()
import numba, numpy as np
import streamsample as ss
import streamsample.exact, streamsample.kernels.slab
imported = time.perf_counter()
stream = ss.CountStream(ss.Posterior.open(sys.argv[1]))
_, ncells, nfeatures = stream.shape
out = np.empty((1, ncells, nfeatures), np.uint16)
stream.load(0, 1).fill(0, 1, 0, ncells, out)
first = time.perf_counter()
print(json.dumps({"imports": imported - start, "first call": first - imported, "mean": out.mean()}))
"""
READ = """
import json, sys
import streamsample as ss
counts = ss.CountStream(ss.Posterior.open(sys.argv[1]))[0, :10, :100]
print(json.dumps({"size": counts.size, "numba": "numba" in sys.modules}))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A posterior.h5."""
    path = tmp_path_factory.mktemp("start") / "posterior.h5"
    WORKLOADS["single_cell"].posterior((1, 100, 600)).save(path)
    return path


def tell(program: str, saved: Path, **environment: str) -> dict[str, float]:
    """Run a program in a fresh process and return what it tells."""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(saved)],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told: dict[str, float] = json.loads(ended.stdout)
    return told


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize("state", ["cold", "cached"])
def test_kernel(state: str, saved: Path, benchmark: BenchmarkFixture, small: bool, tmp_path: Path) -> None:
    """A process that fills a slab, with and without compiled code in Numba's cache."""
    if small and state == "cold":
        pytest.skip("compiles everything, for ten seconds: make bench does that")
    folders = iter(range(100))
    told: list[dict[str, float]] = []

    def run() -> None:
        folder = {"NUMBA_CACHE_DIR": str(tmp_path / str(next(folders)))} if state == "cold" else {}
        told.append(tell(KERNEL, saved, **folder))

    benchmark.pedantic(run, rounds=2 if state == "cold" else 5, warmup_rounds=0 if small or state == "cold" else 1)
    assert all(0 < one["mean"] < 10 for one in told)
    seconds = {name: [one[name] for one in told[-5:]] for name in ("imports", "first call")}
    benchmark.extra_info.update(state=state, seconds=seconds)


@pytest.mark.benchmark(group="start")
def test_tiny_read(saved: Path, benchmark: BenchmarkFixture, small: bool) -> None:
    """A process that reads 1,000 counts of a saved posterior, in all."""
    told: list[dict[str, float]] = []
    benchmark.pedantic(lambda: told.append(tell(READ, saved)), rounds=5, warmup_rounds=0 if small else 1)
    assert all(one["size"] == 1000 for one in told)
    engine = "the kernel" if told[-1]["numba"] else "the twin"
    benchmark.extra_info.update(state=f"1,000 counts by {engine}", twin=find_spec("streamsample._twin") is not None)
