"""End to end: from a posterior to a file of counts, synced, by store; and the same counts in memory only."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import SEED, BenchSlab
from benchmarks.workloads import WORKLOADS
from streamsample.planner import plan
from streamsample.run import sample
from streamsample.stream import CountStream
from streamsample.target import TargetFacts
from streamsample.verifier import verify


@pytest.mark.benchmark(group="stores")
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_store(suffix: str, tmp_path: Path, race: Race, small: bool, all_threads: int) -> None:
    """As `streamsample.sample` runs it: plan, every thread, checksums, rename."""
    posterior = WORKLOADS["single_cell"].posterior((2, 64, 600) if small else (4, 4096, 31_467))
    slab = BenchSlab(WORKLOADS["single_cell"].posterior((1, *posterior.shape[1:])))
    stream, path = CountStream(posterior, SEED), tmp_path / f"counts{suffix}"
    made = plan(stream, path, threads=all_threads)
    task = Task(lambda: sample(stream, path, plan=made, overwrite=True), stream.size)
    race(
        task, {"memory": slab.task(all_threads)}, rounds=3,
        nbytes=made.output_nbytes, filesystem=TargetFacts.gather(path).filesystem, threads=all_threads,
    )  # fmt: skip
    assert verify(path, posterior).counts_compared > 0
    path.unlink()  # pytest keeps folders of the latest runs
