"""End to end: from a posterior to a file of counts, closed and synced, by store, and what bounds each of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Race
from benchmarks.files import dask_task, disk_task, encoder_task, memmap_task
from benchmarks.measure import Task
from benchmarks.slabs import SEED, BenchSlab
from benchmarks.workloads import WORKLOADS
from streamsample.planner import plan
from streamsample.run import sample
from streamsample.stores import describe
from streamsample.stores.places import remove
from streamsample.stream import CountStream
from streamsample.target import TargetFacts
from streamsample.units import MIB
from streamsample.verifier import verify

STORES = (".npy", ".h5", ".h5 gzip", ".h5 lz4", ".h5 zstd", ".zarr lz4", ".zarr zstd")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed afterwards: pytest keeps those of the latest runs."""
    yield tmp_path
    remove(tmp_path)


@pytest.mark.benchmark(group="stores")
@pytest.mark.parametrize("store", STORES)
def test_store(
    store: str, folder: Path, race: Race, benchmark: BenchmarkFixture, small: bool, all_threads: int
) -> None:
    """As `streamsample.sample` runs it: plan, every thread, checksums, journal, rename.

    Beside it, in the same rounds: the kernel without a file, and the encoder or the disk alone.
    """
    suffix, _, compression = store.partition(" ")
    posterior = WORKLOADS["single_cell"].posterior((2, 64, 600) if small else (6, 4096, 31_467))
    slab = BenchSlab(WORKLOADS["single_cell"].posterior((1, *posterior.shape[1:])), "uint16")
    slab.fill()
    stream, path = CountStream(posterior, SEED), folder / f"counts{suffix}"
    made = plan(stream, path, threads=all_threads, dtype="uint16", compression=compression or "auto")
    if made.chunking is None:
        bound = {"disk": disk_task(folder, MIB if small else 1024 * MIB, 2)}
    else:
        bound = {"encoder": encoder_task(slab, made.chunking, all_threads)}
    task = Task(lambda: sample(stream, path, plan=made, overwrite=True), stream.size)
    race(
        task, {"memory": slab.task(all_threads), **bound}, rounds=3,
        nbytes=made.output_nbytes, filesystem=TargetFacts.gather(path).filesystem, threads=all_threads,
    )  # fmt: skip
    benchmark.extra_info["stored"] = describe(path).nbytes
    assert verify(path, posterior).counts_compared > 0


@pytest.mark.benchmark(group="files")
@pytest.mark.parametrize("store", [".npy", ".zarr"])
def test_others(store: str, folder: Path, race: Race, small: bool, all_threads: int) -> None:
    """The same counts as a user could write them: NumPy into a memmap, and blocks of Dask into Zarr."""
    posterior = WORKLOADS["single_cell"].posterior((1, 64, 600) if small else (2, 4096, 31_467))
    stream, path = CountStream(posterior, SEED), folder / f"counts{store}"
    cells = 64 if small else 512
    rivals = {"NumPy into a memmap": memmap_task(posterior, folder / "memmap", cells)}
    if importlib.util.find_spec("dask"):
        rivals["Dask to Zarr"] = dask_task(posterior, folder / "dask.zarr", cells)
    made = plan(stream, path, threads=all_threads)
    race(Task(lambda: sample(stream, path, plan=made, overwrite=True), stream.size), rivals, rounds=3)
    assert describe(path).complete
