"""From a posterior to checked files, with the real stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from streamsample.budget import Budget
from streamsample.errors import CorruptSlab, CountOverflow, PosteriorError
from streamsample.planner import plan
from streamsample.posterior import Posterior
from streamsample.run import sample
from streamsample.stores import describe
from streamsample.stream import CountStream
from streamsample.units import GIB
from streamsample.verifier import verify

SHAPE = (9, 130, 40)
BUDGET = Budget(16 * GIB, 2)  # what the process holds counts, and after the tests of the fit that is a lot


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    rng = np.random.default_rng(0)
    nsamples, ncells, nfeatures = SHAPE
    return Posterior.from_arrays(
        rng.gamma(1.0, 20.0, (nsamples, nfeatures)),
        rng.gamma(3.0, 2.0, (nsamples, nfeatures)) + 0.1,
        rng.lognormal(0.0, 0.3, (nsamples, 3, nfeatures)),
        size_factor=rng.lognormal(0.0, 0.4, ncells),
        group=rng.integers(0, 3, ncells),
        cell_names=[f"cell{n}" for n in range(ncells)],
        feature_names=[f"gene{t}" for t in range(nfeatures)],
    )


def read(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    with h5py.File(path, "r") as file:
        return file["counts"][:]


@pytest.mark.parametrize("minibatch", [1, 4, 9])
def test_both_formats_hold_the_streams_counts(posterior: Posterior, tmp_path: Path, minibatch: int) -> None:
    stream = CountStream(posterior, seed=3)
    expected = stream[:]
    for suffix, cut in ((".npy", {"slab_samples": 1, "slab_cells": 36}), (".h5", {"slab_samples": minibatch})):
        path = tmp_path / f"counts{suffix}"
        made = replace(plan(stream, path, budget=BUDGET), minibatch=minibatch, **cut)
        counts = read(sample(stream, path, plan=made))
        assert counts.dtype == np.uint16
        np.testing.assert_array_equal(counts, expected)
        assert verify(path, posterior, full=True).counts_compared == expected.size


def test_selection_has_the_counts_of_the_whole(posterior: Posterior, tmp_path: Path) -> None:
    whole = CountStream(posterior, seed=3)
    part = whole.select(samples="2:9:3", cells=[7, 99, 100], features=slice(5, 40, 7))
    path = sample(part, tmp_path / "counts.h5", plan=plan(part, tmp_path / "counts.h5", budget=BUDGET))
    np.testing.assert_array_equal(read(path), whole[2:9:3, [7, 99, 100], 5:40:7])
    assert verify(path, posterior).counts_total == 3 * 3 * 5
    assert describe(path).dtype == "uint16"


def test_posterior_file_gives_and_checks_the_same_file(posterior: Posterior, tmp_path: Path) -> None:
    posterior.save(tmp_path / "posterior.h5")
    saved = Posterior.open(tmp_path / "posterior.h5")
    path = sample(CountStream(saved, seed=3), tmp_path / "counts.npy")
    np.testing.assert_array_equal(read(path), CountStream(posterior, seed=3)[:])
    assert verify(path, posterior, full=True).slabs_regenerated == describe(path).nslabs


def test_file_of_another_posterior_is_refused(posterior: Posterior, tmp_path: Path) -> None:
    path = sample(CountStream(posterior, seed=3), tmp_path / "counts.npy")
    other = posterior.for_cells(posterior.cells.size_factor, posterior.cells.group)  # the same but for the names
    with pytest.raises(PosteriorError, match="was made from another posterior"):
        verify(path, other)


def test_changed_byte_is_found(posterior: Posterior, tmp_path: Path) -> None:
    path = sample(CountStream(posterior, seed=3), tmp_path / "counts.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptSlab, match=r"is stored at \(s=8, n=129, t=39\)"):
        verify(path, posterior)


def test_overflow_stops_the_run_and_leaves_nothing(posterior: Posterior, tmp_path: Path) -> None:
    stream = CountStream(posterior, seed=3)
    made = plan(stream, tmp_path / "counts.h5", budget=BUDGET, dtype="uint8")
    assert stream[:].max() > 255
    with pytest.raises(CountOverflow, match=r"sample .*, cell .*, feature"):
        sample(stream, tmp_path / "counts.h5", plan=made)
    assert list(tmp_path.iterdir()) == []


def test_type_holds_what_the_stream_draws() -> None:
    rng = np.random.default_rng(1)
    for mean in (0.5, 8.0, 60.0, 4000.0):
        posterior = Posterior.from_arrays(rng.gamma(9.0, mean / 9.0, (4, 30)), np.full((4, 30), 20.0), n_cells=64)
        stream = CountStream(posterior, seed=9)
        found = np.iinfo(plan(stream, "counts.npy", budget=BUDGET).dtype).max
        assert stream[:].max() <= found
