"""A run: the same bytes however it is cut, and complete or absent whatever happens."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsample.budget import Budget
from streamsample.errors import CountOverflow, OutputExists, PlanError, StoreError
from streamsample.geometry import Selection
from streamsample.memory_model import ParameterFacts
from streamsample.planner import decide
from streamsample.run import Progress, sample
from streamsample.sizing import Plan
from streamsample.stores import describe
from streamsample.target import TargetFacts
from streamsample.units import GIB
from tests.fake_stream import FakeStream, fake_posterior

ROOT = Path(__file__).parents[1]
SHAPE = (7, 22, 9)
PLAN = decide(ParameterFacts(*SHAPE, 1, "uint16"), Budget(GIB, 1), TargetFacts("counts.npy", ".npy"))


def cut(minibatch: int, slab_samples: int, slab_cells: int, shape: tuple[int, int, int] = SHAPE) -> Plan:
    return replace(PLAN, shape=shape, minibatch=minibatch, slab_samples=slab_samples, slab_cells=slab_cells)


FINE = cut(3, 1, 4)


def run(stream: FakeStream, path: Path, plan: Plan = FINE, **options: Any) -> Path:
    return sample(stream, path, plan=plan, **options)  # type: ignore[arg-type]


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream(fake_posterior(SHAPE), seed=5)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def cuts() -> st.SearchStrategy[Plan]:
    """Every way to cut the axes that a plan may choose, and more."""
    minibatch = st.integers(1, SHAPE[0])
    whole = st.tuples(minibatch, st.integers(1, SHAPE[0]), st.just(SHAPE[1]))
    part = st.tuples(minibatch, st.just(1), st.integers(1, SHAPE[1]))
    return st.one_of(whole, part).map(lambda sizes: cut(*sizes))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=cuts(), suffix=st.sampled_from([".npy", ".h5"]))
def test_any_cut_gives_the_same_bytes_in_any_format(
    plan: Plan, suffix: str, tmp_path: Path, stream: FakeStream
) -> None:
    path = run(stream, tmp_path / f"counts{suffix}", plan, overwrite=True)
    if suffix == ".npy":
        counts = np.load(path)
    else:
        with h5py.File(path, "r") as file:
            counts = file["counts"][:]
    np.testing.assert_array_equal(counts, stream.counts())


def test_every_count_is_computed_once_and_in_file_order(tmp_path: Path, stream: FakeStream) -> None:
    run(stream, tmp_path / "counts.npy")
    starts = [(s0, n0) for s0, _, n0, _ in stream.fills]
    assert starts == sorted(starts)
    assert sum((s1 - s0) * (n1 - n0) for s0, s1, n0, n1 in stream.fills) == SHAPE[0] * SHAPE[1]


def test_plan_is_made_if_none_is_given(tmp_path: Path, stream: FakeStream) -> None:
    path = sample(stream, tmp_path / "counts.h5")  # type: ignore[arg-type]
    assert path == tmp_path / "counts.h5"
    assert describe(path).dtype == "uint8"


def test_selection_is_written_with_its_indices(tmp_path: Path) -> None:
    posterior = fake_posterior(SHAPE)
    chosen = Selection.of(SHAPE, samples="1:6:2", cells=[20, 3, 4], features=[8, 0])
    stream = FakeStream(posterior, chosen=chosen)
    path = run(stream, tmp_path / "counts.h5", cut(2, 1, 3, (3, 3, 2)))
    assert describe(path).selection == {"sample_index": "1:6:2", "cell_index": [20, 3, 4], "feature_index": [8, 0]}
    with h5py.File(path, "r") as file:
        assert file["cell"].asstr()[:].tolist() == ["cell20", "cell3", "cell4"]
        np.testing.assert_array_equal(file["sample"][:], [1, 3, 5])
        np.testing.assert_array_equal(file["counts"][:], stream.counts())


def test_progress_ends_at_the_total(tmp_path: Path, stream: FakeStream) -> None:
    events: list[Progress] = []
    run(stream, tmp_path / "counts.npy", progress=events.append)
    done = [event.counts_done for event in events]
    assert len(events) == len(stream.fills)
    assert done == sorted(set(done))
    assert events[-1].counts_done == events[-1].counts_total == np.prod(SHAPE)
    assert events[-1].nbytes == 2 * np.prod(SHAPE)


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("error", [CountOverflow("70000 at (s=4, n=0, t=0)"), KeyboardInterrupt(), MemoryError("no")])
@pytest.mark.parametrize("old", [False, True])
def test_nothing_is_left_and_the_old_file_stays(suffix: str, error: BaseException, old: bool, tmp_path: Path) -> None:
    path = tmp_path / f"counts{suffix}"
    first = FakeStream(fake_posterior(SHAPE), seed=1)
    if old:
        run(first, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(type(error)):
        run(FakeStream(first.posterior, seed=2, fails_at=(4, error)), path, overwrite=old)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    script = (
        # A background job of a script inherits SIGINT as ignored, and so does what it starts.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time; from pathlib import Path; from tests.test_run import *\n"
        "def slow(event): print('started', flush=True); time.sleep(30)\n"
        "run(FakeStream(fake_posterior(SHAPE)), Path(sys.argv[1]), progress=slow)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "counts.h5")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            assert names(tmp_path) == ["counts.h5.partial"]
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert names(tmp_path) == []


def test_existing_file_is_refused_before_anything_is_computed(tmp_path: Path, stream: FakeStream) -> None:
    path = tmp_path / "counts.h5"
    path.write_text("precious")
    with pytest.raises(OutputExists, match="--overwrite"):
        run(stream, path)
    assert path.read_text() == "precious"
    assert stream.fills == []
    run(stream, path, overwrite=True)
    assert describe(path).complete


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_disk_that_refuses_is_one_line_and_leaves_nothing(
    number: int, tmp_path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, calls = os.pwrite, []

    def failing(descriptor: int, data: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(number, os.strerror(number))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(StoreError, match=rf"can't be written after .* of 2\.7 KiB: {os.strerror(number)}"):
        run(stream, tmp_path / "counts.npy")
    assert names(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:7], offset))
    np.testing.assert_array_equal(np.load(run(stream, tmp_path / "counts.npy")), stream.counts())


def test_file_size_limit_of_the_process_is_met(tmp_path: Path) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from pathlib import Path; from tests.test_run import *\n"
        "try: run(FakeStream(fake_posterior(SHAPE)), Path(sys.argv[1]))\n"
        "except StoreError as error: sys.exit(str(error))\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "counts.npy")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs 2.7 KiB but files are limited to 2.0 KiB (RLIMIT_FSIZE)" in done.stderr
    assert names(tmp_path) == []


def test_disk_without_room_is_refused_first(
    tmp_path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TargetFacts.gather(tmp_path / "counts.npy")
    monkeypatch.setattr(TargetFacts, "gather", lambda _: replace(real, free_nbytes=100))
    with pytest.raises(StoreError, match=r"needs 2\.7 KiB but 100 B are free"):
        run(stream, tmp_path / "counts.npy")
    assert names(tmp_path) == []
    assert stream.fills == []


def test_missing_folder_and_unknown_suffix_are_one_line(tmp_path: Path, stream: FakeStream) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        run(stream, tmp_path / "absent" / "counts.npy")
    with pytest.raises(PlanError, match=r"counts are written to \.npy or \.h5"):
        run(stream, tmp_path / "counts.csv")


def test_plan_of_another_stream_is_refused(tmp_path: Path, stream: FakeStream) -> None:
    with pytest.raises(PlanError, match=r"the plan is for counts of shape \(1, 2, 3\)"):
        run(stream, tmp_path / "counts.npy", cut(1, 1, 2, (1, 2, 3)))
    assert names(tmp_path) == []


def test_threads_of_the_plan_hold_during_the_run_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(numba, "set_num_threads", seen.append)
    run(FakeStream(fake_posterior(SHAPE)), tmp_path / "counts.npy", replace(FINE, threads=1))
    assert seen == [1, numba.get_num_threads()]
