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
from streamsample.errors import CountOverflow, DiskRefused, Interrupted, OutputExists, PlanError, StoreError
from streamsample.geometry import Selection
from streamsample.memory_model import ParameterFacts
from streamsample.planner import decide
from streamsample.run import Progress, sample
from streamsample.sizing import Plan
from streamsample.stopping import Stopper
from streamsample.stores import describe, raw, writing
from streamsample.stores.places import remove
from streamsample.target import TargetFacts
from streamsample.units import GIB
from tests.fake_stream import FakeStream, fake_posterior
from tests.mounts import tmpfs
from tests.outputs import ENDS, compression, read, suited

ROOT = Path(__file__).parents[1]
SHAPE = (7, 22, 9)
PLAN = decide(ParameterFacts(*SHAPE, 1, "uint16"), Budget(GIB, 1), TargetFacts("counts.npy", ".npy"))


def cut(minibatch: int, slab_samples: int, slab_cells: int, shape: tuple[int, int, int] = SHAPE) -> Plan:
    return replace(PLAN, shape=shape, minibatch=minibatch, slab_samples=slab_samples, slab_cells=slab_cells)


FINE = cut(3, 1, 4)


def run(stream: FakeStream, path: Path, plan: Plan = FINE, **options: Any) -> Path:
    return sample(stream, path, plan=suited(plan, path), **options)  # type: ignore[arg-type]


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream(fake_posterior(SHAPE), seed=5)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def contents(folder: Path, stem: str = "") -> dict[str, bytes]:
    """Every file below a folder whose name begins so, without that stem."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)).removeprefix(stem): file.read_bytes()
        for file in files
        if str(file.relative_to(folder)).startswith(stem)
    }


def cuts() -> st.SearchStrategy[Plan]:
    """Every way to cut the axes that a plan may choose, and more."""
    minibatch = st.integers(1, SHAPE[0])
    whole = st.tuples(minibatch, st.integers(1, SHAPE[0]), st.just(SHAPE[1]))
    part = st.tuples(minibatch, st.just(1), st.integers(1, SHAPE[1]))
    return st.one_of(whole, part).map(lambda sizes: cut(*sizes))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=cuts(), end=st.sampled_from(ENDS))
def test_any_cut_gives_the_same_bytes_in_any_format(plan: Plan, end: str, tmp_path: Path, stream: FakeStream) -> None:
    path = run(stream, tmp_path / f"counts{end}", plan, overwrite=True)
    np.testing.assert_array_equal(read(path), stream.counts())


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
    assert {event.allowed_nbytes for event in events} == {FINE.allowed_nbytes}


@pytest.mark.parametrize("end", [end for end in ENDS if end.endswith(".h5")])
def test_bytes_of_progress_are_those_that_were_written(end: str, tmp_path: Path, stream: FakeStream) -> None:
    path, events, stopper = tmp_path / f"counts{end}", [], Stopper({"SLURM_JOB_END_TIME": "1000"}, clock=lambda: now[0])
    now = [0.0]

    def note(event: Progress) -> None:
        events.append(event)
        now[0] += 100.0

    with pytest.raises(Interrupted):
        run(stream, path, stopper=stopper, progress=note)
    before = len(events)
    run(stream, path, resume=True, progress=note)
    assert 0 < events[before].counts_before < events[-1].counts_done
    with h5py.File(path, "r") as file:
        assert events[-1].nbytes == file["counts"].id.get_storage_size()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("old", [False, True])
def test_an_overflow_leaves_nothing_and_the_old_file_stays(end: str, old: bool, tmp_path: Path) -> None:
    path = tmp_path / f"counts{end}"
    first = FakeStream(fake_posterior(SHAPE), seed=1)
    if old:
        run(first, path, FINE)
    before = contents(tmp_path)
    error = CountOverflow("70000 at (s=4, n=0, t=0)")
    with pytest.raises(CountOverflow):
        run(FakeStream(first.posterior, seed=2, fails_at=(4, error)), path, FINE, overwrite=old)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("again", [cut(7, 7, 22), cut(2, 2, 22), cut(7, 1, 8)])
def test_a_run_that_fails_is_continued_with_other_slabs(end: str, again: Plan, tmp_path: Path) -> None:
    path, whole = tmp_path / f"counts{end}", tmp_path / f"whole{end}"
    run(FakeStream(fake_posterior(SHAPE)), whole, FINE)
    with pytest.raises(MemoryError):
        run(FakeStream(fake_posterior(SHAPE), fails_at=(4, MemoryError("no"))), path, FINE)
    rest = FakeStream(fake_posterior(SHAPE))
    run(rest, path, again, resume=True)
    assert min(s0 for s0, *_ in rest.fills) >= 4  # the rest only
    np.testing.assert_array_equal(read(path), rest.counts())
    if compression(path) == "none":
        assert contents(tmp_path, "counts") == contents(tmp_path, "whole")
    run(rest, path, again, resume=True)
    assert sum((s1 - s0) * (n1 - n0) for s0, s1, n0, n1 in rest.fills) == 3 * SHAPE[1]


def test_resume_starts_where_nothing_is(tmp_path: Path, stream: FakeStream) -> None:
    assert describe(run(stream, tmp_path / "counts.h5", resume=True)).complete


def test_ctrl_c_keeps_what_is_in_the_journal(tmp_path: Path) -> None:
    script = (
        # A background job of a script inherits SIGINT as ignored, and so does what it starts.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time; from pathlib import Path; from tests.test_run import *\n"
        "writing.COMMIT_SECONDS = 0\n"
        "def slow(event): print('started', flush=True); time.sleep(30)\n"
        "run(FakeStream(fake_posterior(SHAPE)), Path(sys.argv[1]), progress=slow)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "counts.h5")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert names(tmp_path) == ["counts.h5.partial", "counts.h5.partial.journal"]
    stream = FakeStream(fake_posterior(SHAPE))
    run(stream, tmp_path / "counts.h5", resume=True)
    assert 0 < len(stream.fills) < 42


def test_a_stopper_stops_between_slabs_and_says_how_to_go_on(tmp_path: Path, stream: FakeStream) -> None:
    now = [0.0]

    def tick(event: Progress) -> None:
        now[0] = float(event.counts_done)

    stopper = Stopper({"SLURM_JOB_END_TIME": "1000"}, clock=lambda: now[0])
    told = r"stopped by the end of the job's time \(SLURM_JOB_END_TIME\); .*% of the counts are safely written"
    with pytest.raises(Interrupted, match=told):
        run(stream, tmp_path / "counts.npy", stopper=stopper, progress=tick)
    done = len(stream.fills)
    assert 0 < done < 42
    run(stream, tmp_path / "counts.npy", resume=True)
    assert len(stream.fills) == 42
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), stream.counts())


def test_progress_of_a_resumed_run_goes_on_from_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    with pytest.raises(MemoryError):
        run(FakeStream(fake_posterior(SHAPE), fails_at=(4, MemoryError("no"))), path)
    events: list[Progress] = []
    run(FakeStream(fake_posterior(SHAPE)), path, resume=True, progress=events.append)
    assert events[0].counts_before == 4 * SHAPE[1] * SHAPE[2] < events[0].counts_done
    assert events[-1].counts_done == events[-1].counts_total


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
@pytest.mark.parametrize("commit_seconds", [0, 1000])
def test_disk_that_refuses_is_one_line_and_what_is_safe_stays(
    number: int, commit_seconds: int, tmp_path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "COMMIT_SECONDS", commit_seconds)
    pwrite, calls = os.pwrite, []

    def failing(descriptor: int, data: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 20:
            raise OSError(number, os.strerror(number))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    told = rf"can't be written.*: {os.strerror(number)}"
    with pytest.raises((Interrupted, DiskRefused), match=told) as error:
        run(stream, tmp_path / "counts.npy")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(os, "pwrite", pwrite)
    if commit_seconds:  # nothing was in the journal
        assert isinstance(error.value, DiskRefused)
        assert names(tmp_path) == []
        return
    assert isinstance(error.value, Interrupted)
    assert "continue with resume=True" in str(error.value)
    before = len(stream.fills)
    run(stream, tmp_path / "counts.npy", resume=True)
    assert len(stream.fills) - before < 42
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), stream.counts())


def test_disk_that_fills_up_makes_room_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (8, 200, 100)
    stream, plan = FakeStream(fake_posterior(shape)), cut(1, 1, 40, shape)
    # As on a file system that reserves nothing beforehand.
    monkeypatch.setattr(raw, "_reserve", lambda *_: None)
    monkeypatch.setattr(writing, "COMMIT_SECONDS", 0)
    with tmpfs(tmp_path / "small", nbytes=1_000_000) as folder:
        other = folder / "somebody else's"

        def fill_up(_: Progress) -> None:
            if not other.exists():
                other.write_bytes(bytes(os.statvfs(folder).f_bavail * 4096 - 40_960))

        for end in ENDS:
            path = folder / f"counts{end}"
            with pytest.raises(Interrupted, match="No space left on device; free some space there"):
                run(stream, path, plan, progress=fill_up)
            other.unlink()
            run(stream, path, plan, resume=True)
            np.testing.assert_array_equal(read(path), stream.counts())
            for file in folder.iterdir():
                remove(file)


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


@pytest.mark.parametrize("limit", [{"free_nbytes": 100}, {"free_files": 3}])
def test_disk_without_room_for_the_rest_can_be_tried_again(
    limit: dict[str, int], tmp_path: Path, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MemoryError):
        run(replace(stream, fails_at=(4, MemoryError())), tmp_path / "counts.npy")
    real = TargetFacts.gather(tmp_path / "counts.npy")
    monkeypatch.setattr(TargetFacts, "gather", lambda _: replace(real, **limit))  # type: ignore[arg-type]
    with pytest.raises(Interrupted, match=r"needs .* but .* what is written is safe: continue with resume=True"):
        run(stream, tmp_path / "counts.npy", resume=True)
    monkeypatch.undo()
    run(stream, tmp_path / "counts.npy", resume=True)
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), stream.counts())


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
