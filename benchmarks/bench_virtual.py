"""Reading slices of a virtual dataset, which computes them, against decoding them from compressed files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import SEED, on_threads
from benchmarks.workloads import WORKLOADS
from streamsample.counts import Counts
from streamsample.planner import plan
from streamsample.run import sample
from streamsample.stored import open as open_counts
from streamsample.stream import CountStream
from streamsample.virtual import save_virtual

Axes = tuple[int, int, int]


def box(ncells: int, nfeatures: int) -> Callable[[Axes, np.random.Generator], Any]:
    """Neighbouring cells and features of a sample, anywhere."""

    def key(shape: Axes, rng: np.random.Generator) -> Any:
        n, t = rng.integers(max(1, shape[1] - ncells)), rng.integers(max(1, shape[2] - nfeatures))
        return np.s_[rng.integers(shape[0]), n : n + ncells, t : t + nfeatures]

    return key


SLICES: dict[str, Callable[[Axes, np.random.Generator], Any]] = {
    "a single count": box(1, 1),
    "10 cells x 10 features": box(10, 10),
    "100 cells x 100 features": box(100, 100),
    "256 cells x 256 features": box(256, 256),
    "1,000 cells x 1,000 features": box(1000, 1000),
    "one sample": lambda shape, rng: np.s_[rng.integers(shape[0])],
    "100 cells": lambda shape, rng: np.s_[rng.integers(shape[0]), (n := rng.integers(shape[1] // 2)) : n + 100],
    "one feature": lambda shape, rng: np.s_[rng.integers(shape[0]), :, rng.integers(shape[2])],
    "one feature of all samples": lambda shape, rng: np.s_[:, :, rng.integers(shape[2])],
    "every 97th cell, every 31st feature": lambda shape, rng: np.s_[rng.integers(shape[0]), ::97, ::31],
}


@pytest.mark.benchmark(group="virtual")
@pytest.mark.parametrize("name", SLICES)
def test_slices(name: str, race: Race, tmp_path: Path, small: bool, all_threads: int) -> None:
    """The same random slices of all, all threads."""
    shape = (3, 200, 100) if small else (6, 20_000, 3_000)
    stream = CountStream(WORKLOADS["single_cell"].posterior(shape), SEED)
    save_virtual(stream, tmp_path / "virtual.h5")
    virtual, stored = open_counts(tmp_path / "virtual.h5"), {}
    for suffix in (".h5", ".zarr"):
        encoded = tmp_path / f"counts{suffix}"
        stored[suffix] = open_counts(sample(stream, encoded, plan=plan(stream, encoded, compression="zstd")))
    rng = np.random.default_rng(0)
    keys = [SLICES[name](shape, rng) for _ in range(2 if small else 10)]
    for key in keys:
        assert all((virtual[key] == counts[key]).all() for counts in stored.values())
    ncounts = sum(virtual[key].size for key in keys)
    computed = on_threads(all_threads, partial(_read, virtual, keys))
    decoded = {suffix: Task(partial(_read, counts, keys), ncounts) for suffix, counts in stored.items()}
    race(Task(computed, ncounts), decoded, slices=len(keys))
    shutil.rmtree(tmp_path)


def _read(counts: Counts, keys: Sequence[Any]) -> None:
    """Read slices one by one."""
    for key in keys:
        counts[key]
