"""Reading slices of a virtual dataset, which computes them, against decoding them from a compressed file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import Race
from benchmarks.measure import Task
from benchmarks.slabs import SEED, on_threads
from benchmarks.workloads import WORKLOADS
from streamsample.planner import plan
from streamsample.run import sample
from streamsample.stored import open as open_counts
from streamsample.stream import CountStream
from streamsample.virtual import save_virtual

Axes = tuple[int, int, int]

SLICES: dict[str, Callable[[Axes, np.random.Generator], Any]] = {
    "one sample": lambda shape, rng: np.s_[rng.integers(shape[0])],
    "100 cells": lambda shape, rng: np.s_[rng.integers(shape[0]), (n := rng.integers(shape[1] // 2)) : n + 100],
    "one feature": lambda shape, rng: np.s_[rng.integers(shape[0]), :, rng.integers(shape[2])],
    "one feature of all samples": lambda shape, rng: np.s_[:, :, rng.integers(shape[2])],
    "256 cells x 256 features": lambda shape, rng: np.s_[
        rng.integers(shape[0]),
        (n := rng.integers(shape[1] // 2)) : n + 256,
        (t := rng.integers(shape[2] // 2)) : t + 256,
    ],
    "every 97th cell, every 31st feature": lambda shape, rng: np.s_[rng.integers(shape[0]), ::97, ::31],
}


@pytest.mark.benchmark(group="virtual")
@pytest.mark.parametrize("name", SLICES)
def test_slices(name: str, race: Race, tmp_path: Path, small: bool, all_threads: int) -> None:
    """The same random slices of both, all threads."""
    shape = (3, 200, 100) if small else (6, 20_000, 3_000)
    stream = CountStream(WORKLOADS["single_cell"].posterior(shape), SEED)
    encoded = tmp_path / "counts.h5"
    sample(stream, encoded, plan=plan(stream, encoded, compression="zstd"))
    save_virtual(stream, tmp_path / "virtual.h5")
    virtual, stored = open_counts(tmp_path / "virtual.h5"), open_counts(encoded)
    rng = np.random.default_rng(0)
    keys = [SLICES[name](shape, rng) for _ in range(2 if small else 10)]
    for key in keys:
        assert (virtual[key] == stored[key]).all()
    ncounts = sum(virtual[key].size for key in keys)
    computed = on_threads(all_threads, lambda: [virtual[key] for key in keys])
    race(Task(computed, ncounts), {"decoded": Task(lambda: [stored[key] for key in keys], ncounts)}, slices=len(keys))
    encoded.unlink()
