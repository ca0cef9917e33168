"""Memory that gets short during a run: the rest is cut finer, and holds the same counts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamsample as ss
from streamsample import run as run_module
from streamsample.budget import Budget, Statement
from streamsample.budget.host import process_nbytes
from streamsample.geometry import Shape, Slab
from streamsample.memory_model import ParameterFacts, Quantity
from streamsample.planner import decide
from streamsample.posterior import Posterior
from streamsample.pressure import Reading, Watch, allowed_now, read_memory, relieved
from streamsample.run import Progress, sample
from streamsample.sizing import Plan
from streamsample.target import TargetFacts
from streamsample.units import GIB, MIB
from tests.fake_stream import FakeStream, fake_posterior
from tests.formats import FORMATS
from tests.posteriors import arrays

SHAPE = (7, 22, 3_000)


def plan_for(shape: Shape, nbytes: int = 4 * GIB) -> Plan:
    return decide(ParameterFacts(*shape, 2, "uint16"), Budget(nbytes, 2), TargetFacts("counts.npy", ".npy"))


def reading(limit: int, used: int = 0) -> Reading:
    return Reading(used, limit, "a group")


def walk(plans: list[Plan]) -> list[Slab]:
    """The slabs of a run that goes on with the next plan after each slab, and keeps the last one."""
    found: list[Slab] = []
    s, n = 0, 0
    while s < plans[0].shape[0]:
        plan = plans[min(len(found), len(plans) - 1)]
        found.append(plan.slab_at(s, n, min(s + plan.minibatch, plan.shape[0])))
        s, n = found[-1].end(plan.shape[1])
    return found


def ladder(plan: Plan) -> list[Plan]:
    """Every plan from this one down to the smallest, each found by asking for a byte less."""
    plans = [plan]
    while (finer := relieved(plans[-1], 0, plans[-1].peak_nbytes - 1)) is not plans[-1]:
        plans.append(finer)
    return plans


def test_plan_that_fits_stays_the_same_object() -> None:
    plan = plan_for((10, 5_000, 1_000))
    assert relieved(plan, plan.peak_nbytes, plan.peak_nbytes) is plan


@given(
    nsamples=st.integers(1, 40),
    ncells=st.integers(1, 30_000),
    nfeatures=st.integers(1, 30_000),
    share=st.floats(0.1, 1.0),
    surplus=st.integers(0, 200 * MIB),
)
def test_relieved_plan_fits_or_is_the_smallest(
    nsamples: int, ncells: int, nfeatures: int, share: float, surplus: int
) -> None:
    plan = plan_for((nsamples, ncells, nfeatures))
    used, allowed = plan.peak_nbytes + surplus, int(share * plan.peak_nbytes)
    smaller = relieved(plan, used, allowed)
    given_back = plan.peak_nbytes - smaller.peak_nbytes
    assert given_back >= used - allowed or relieved(smaller, smaller.peak_nbytes, 0) is smaller
    assert smaller.peak_nbytes == sum(quantity.nbytes for quantity in smaller.quantities)
    assert {quantity.name for quantity in smaller.quantities} == {quantity.name for quantity in plan.quantities}


@given(nsamples=st.integers(1, 12), ncells=st.integers(1, 3_000), data=st.data())
def test_slabs_hold_every_count_once_and_in_order_wherever_the_plan_changes(
    nsamples: int, ncells: int, data: st.DataObject
) -> None:
    steps = ladder(plan_for((nsamples, ncells, 20_000)))
    repeats = data.draw(st.lists(st.integers(0, 3), min_size=len(steps), max_size=len(steps)))
    plans = [step for step, times in zip(steps, repeats, strict=True) for _ in range(times)]
    rows = 0
    for slab in walk([*plans, steps[-1]]):
        assert slab.s0 * ncells + slab.n0 == rows
        assert slab.nsamples == 1 or slab.ncells == ncells
        assert slab.n0 % 4 == 0
        rows += slab.nsamples * slab.ncells
    assert rows == nsamples * ncells


def test_smallest_plan_is_some_quads_of_one_sample() -> None:
    plans = ladder(plan_for((20, 4_000, 20_000)))
    assert [plan.peak_nbytes for plan in plans] == sorted({plan.peak_nbytes for plan in plans}, reverse=True)
    last = plans[-1]
    assert (last.minibatch, last.slab_samples, last.slabs_in_flight) == (1, 1, 1)
    assert last.slab_cells <= 32  # smaller ones would need more for their checksums than they give back


def test_slabs_keep_to_the_unit_of_their_store() -> None:
    plan = replace(plan_for((16, 4_000, 5_000)), slab_unit=(4, 128))
    for finer in ladder(plan)[1:]:
        assert finer.slab_cells % 128 == 0 or finer.slab_cells == 4_000
        assert finer.minibatch >= 4


def test_limit_counts_from_when_it_falls() -> None:
    plan = replace(plan_for(SHAPE), allowed_nbytes=700, safety_factor=0.7, quantities=())
    assert allowed_now(plan, reading(1000), reading(1000)) == 700
    assert allowed_now(plan, reading(1000), reading(960)) == 700, "neighbours come and go"
    assert allowed_now(plan, reading(1000), reading(600)) == 420
    dirty = replace(plan, quantities=(Quantity("dirty pages", 300, "its own"),))
    assert allowed_now(dirty, reading(1000), reading(660)) == 700
    assert allowed_now(dirty, reading(1000), reading(600)) == 420


def test_limit_that_was_found_counts_from_when_the_plan_was_made() -> None:
    plan = replace(plan_for(SHAPE), allowed_nbytes=700, safety_factor=0.7, quantities=(), limit_nbytes=1000)
    assert allowed_now(plan, reading(500), reading(500)) == 350
    assert allowed_now(plan, reading(2000), reading(1000)) == 700, "it had risen in between"
    detected = Budget(4 * GIB, 2, sources=(Statement("a group", "", 4 * GIB),), tightest="a group")
    facts, target = ParameterFacts(*SHAPE, 2), TargetFacts("counts.npy", ".npy")
    for budget, limit in (
        (detected, 4 * GIB),
        (replace(detected, nbytes=GIB), None),
        (Budget.detect(memory=GIB), None),
        (Budget(GIB, 2), None),
    ):
        assert decide(facts, budget, target).limit_nbytes == limit


def test_budget_of_the_user_is_neither_raised_nor_kept_above_a_limit_that_falls() -> None:
    stated = replace(plan_for(SHAPE), allowed_nbytes=300, safety_factor=1.0, quantities=())
    assert allowed_now(stated, reading(1000), reading(2000)) == 300
    assert allowed_now(stated, reading(1000), reading(500)) == 300
    assert allowed_now(stated, reading(1000), reading(200)) == 200
    above = replace(stated, allowed_nbytes=5000)
    assert allowed_now(above, reading(1000), reading(1000)) == 5000, "the user knows better"


def test_limits_are_read_from_a_tree_without_asking_a_controller(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/job/task\n",
        "proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        "proc/self/status": "RssAnon:\t1000 kB\nRssShmem:\t24 kB\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(500 * MIB),
        "sys/fs/cgroup/memory/job/memory.stat": f"total_rss {101 * MIB}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    environ = {"STREAMSAMPLE_MEMORY": "1M", "SLURM_MEM_PER_NODE": "1", "SLURM_JOB_ID": "7"}
    found = read_memory(environ, tmp_path)
    assert found == Reading(1024 * 1024, 400 * MIB, "cgroup v1 /job/memory.limit_in_bytes")


def test_no_limit_at_all_is_no_reason_to_stop(tmp_path: Path) -> None:
    assert read_memory({}, tmp_path).limit_nbytes > 2**60


def shrinking_run(
    path: Path, plan: Plan, readings: list[Reading], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> FakeStream:
    """A run that sees one reading after another, and the last one from then on."""

    def read() -> Reading:
        return readings.pop(0) if len(readings) > 1 else readings[0]

    monkeypatch.setattr(run_module, "Watch", lambda: Watch(read, interval_seconds=0.0))
    stream = FakeStream(fake_posterior(plan.shape), seed=5)
    sample(stream, path, plan=plan, **options)  # type: ignore[arg-type]
    return stream


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_run_under_pressure_writes_the_same_bytes(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_for(SHAPE)
    enough, nothing = reading(plan.allowed_nbytes * 2), reading(1)
    calm, pressed = tmp_path / f"calm{suffix}", tmp_path / f"pressed{suffix}"
    coarse = replace(plan, minibatch=3, slab_samples=1, slab_cells=16)
    first = shrinking_run(calm, coarse, [enough], monkeypatch)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        second = shrinking_run(pressed, coarse, [enough, enough, enough, nothing], monkeypatch)
    assert counts_of(pressed).tobytes() == counts_of(calm).tobytes() == second.counts().astype(np.uint16).tobytes()
    assert second.fills[:3] == first.fills[:3]
    assert second.fills[3:] == [(1, 2, 16, 20), (1, 2, 20, 22)] + [
        (s, s + 1, n, min(n + 4, 22)) for s in range(2, 7) for n in range(0, 22, 4)
    ]
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert message.startswith("memory is short: ")
    assert "(a group: 1 B); from here on slabs of 23.4 KiB instead of 93.8 KiB, 1 at a time" in message


def test_limit_that_falls_between_plan_and_run_is_noticed_before_the_first_slab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_for(SHAPE)
    plan = replace(plan, minibatch=3, slab_samples=1, slab_cells=16, limit_nbytes=2 * plan.allowed_nbytes)
    events: list[Progress] = []
    stream = shrinking_run(tmp_path / "counts.npy", plan, [reading(1000)], monkeypatch, progress=events.append)
    assert stream.fills[0] == (0, 1, 0, 4)
    assert {event.allowed_nbytes for event in events} == {700}, "of 700 bytes, not of what was planned"
    (record,) = caplog.records
    assert "(a group: 1000 B); from here on slabs of" in record.getMessage()


def test_plan_that_was_made_larger_by_hand_begins_so_unless_its_limit_has_fallen() -> None:
    plan = plan_for((10, 5_000, 1_000))
    forced = replace(plan, limit_nbytes=10**9, allowed_nbytes=plan.peak_nbytes // 2, safety_factor=0.7)
    assert Watch(lambda: reading(10**9)).begin(forced) is forced
    assert Watch(lambda: reading(1)).begin(forced) is not forced


def test_memory_that_the_process_takes_elsewhere_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used = process_nbytes()
    facts, target = ParameterFacts(*SHAPE, 1, "uint16"), TargetFacts("counts.npy", ".npy")
    budget = Budget(int(1.06 * used) + 64 * MIB, 1)  # the plan keeps a share of all that is in use for the allocator
    plan = decide(facts, budget, target, safety_factor=1.0, baseline=used, libraries=0).recut(3, 1, 16, 2)
    hoard: list[Any] = []
    monkeypatch.setattr(run_module, "Watch", lambda: Watch(interval_seconds=0.0))
    stream = FakeStream(fake_posterior(SHAPE), seed=5)
    path = tmp_path / "counts.npy"
    sample(stream, path, plan=plan, progress=lambda _: hoard.extend([] if hoard else [np.ones(64 * MIB)]))  # type: ignore[arg-type]
    (record,) = caplog.records
    assert "memory is short" in record.getMessage()
    assert len(stream.fills) > 7 * 2
    np.testing.assert_array_equal(np.load(path), stream.counts())


@pytest.mark.parametrize(("suffix", "compression"), FORMATS)
def test_counts_are_the_same_in_every_format(
    suffix: str, compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = ss.CountStream(Posterior.from_arrays(**arrays((5, 600, 900))), seed=3)
    path = tmp_path / f"counts{suffix}"
    plan = ss.plan(stream, path, compression=compression, dtype="uint16")
    plan = plan.recut(3, 1, plan.shape[1], 2)
    readings = [reading(2**40), reading(2**40), reading(1)]
    monkeypatch.setattr(
        run_module, "Watch", lambda: Watch(lambda: readings.pop(0) if readings[1:] else readings[0], 0.0)
    )
    ss.sample(stream, path, plan=plan)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    np.testing.assert_array_equal(ss.open(path)[:], stream[:])
    ss.verify(path, stream.posterior)  # raises on what differs


def counts_of(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    import h5py

    with h5py.File(path, "r") as file:
        return file["counts"][:]
