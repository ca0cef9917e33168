"""A fit is cut so that it fits, or refused with what would fit."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsample.budget import Budget, Statement
from streamsample.errors import BudgetError
from streamsample.fit import device as devices
from streamsample.fit.memory import FIT_ON_DEVICE, FitFacts
from streamsample.fit.plan import LEAST_CELLS, MOST_DRAWS, FitPlan, decide
from streamsample.units import GIB, MIB

ATLAS = FitFacts(ncells=21_761, nfeatures=28_868, ngroups=2, nsamples=1000, nnz=60_000_000, npairs=1_000_000)
BASELINE = 300 * MIB


def made(nbytes: int, facts: FitFacts = ATLAS, **options: object) -> FitPlan:
    return decide(facts, Budget(nbytes, 2), **{"baseline": BASELINE, **options})  # type: ignore[arg-type]


def check(plan: FitPlan) -> None:
    """Fail unless every phase fits, names its quantities once, and each step has cells."""
    assert plan.peak_nbytes <= plan.allowed_nbytes
    for quantities in plan.phases.values():
        assert len({quantity.name for quantity in quantities}) == len(quantities)
        assert all(quantity.nbytes >= 0 and quantity.why for quantity in quantities)
    assert min(LEAST_CELLS, plan.facts.ncells) <= plan.cells <= plan.facts.ncells
    assert plan.minibatch % 8 == 0
    assert plan.minibatch > 0
    assert f"{plan.cells:,} of {plan.facts.ncells:,} cells" in plan.explain()


def test_all_cells_are_taken_where_they_fit() -> None:
    plan = made(64 * GIB)
    check(plan)
    assert not plan.subsampled
    assert plan.minibatch == MOST_DRAWS


def test_some_cells_are_taken_where_all_do_not_fit_and_no_more_would() -> None:
    plan = made(3 * GIB)
    check(plan)
    assert LEAST_CELLS < plan.cells < ATLAS.ncells
    fitting = plan.phases["fitting"]
    assert sum(q.nbytes for q in fitting) > 0.99 * plan.allowed_nbytes / 1.05
    assert made(2 * GIB + 512 * MIB).cells < plan.cells


def test_draws_are_made_in_smaller_minibatches_before_the_fit_is_refused() -> None:
    many = replace(ATLAS, ncells=500, nnz=500_000, nsamples=400)
    plan = made(1100 * MIB, many)
    check(plan)
    assert 8 <= plan.minibatch < MOST_DRAWS


@pytest.mark.parametrize(("size", "minibatch"), [(1, 8), (20, 16), (5000, 1000)])
def test_a_users_minibatch_is_taken_in_whole_blocks(size: int, minibatch: int) -> None:
    assert made(64 * GIB, minibatch_size=size).minibatch == minibatch


def test_a_users_minibatch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"while drawing but .* with a smaller minibatch_size=$"):
        made(4 * GIB, minibatch_size=1000)


def test_a_fit_that_can_not_fit_says_how_many_samples_would() -> None:
    with pytest.raises(BudgetError) as error:
        made(2 * GIB, replace(ATLAS, nsamples=100_000))
    text = str(error.value)
    assert text.startswith(
        "the fit needs at least 45.7 GiB while drawing but 1.4 GiB are allowed (given, safety 0.7); give"
    )
    nsamples = int(re.findall(r"nsamples=(\d+)$", text)[0])
    check(made(2 * GIB, replace(ATLAS, nsamples=nsamples)))
    with pytest.raises(BudgetError):
        made(2 * GIB, replace(ATLAS, nsamples=nsamples + 1))


def test_a_fit_that_can_not_fit_says_how_many_features_would() -> None:
    with pytest.raises(BudgetError, match=r"while starting but .* or about [0-9,]+ features$") as error:
        made(GIB)
    nfeatures = int(str(error.value).split()[-2].replace(",", ""))
    share = nfeatures / ATLAS.nfeatures
    check(made(GIB, replace(ATLAS, nfeatures=nfeatures, nnz=int(ATLAS.nnz * share), npairs=int(ATLAS.npairs * share))))


def test_a_process_that_holds_all_there_is_leaves_no_way_out_but_memory() -> None:
    with pytest.raises(BudgetError, match=r"no feature would fit beside the 1\.0 GiB that the process holds$"):
        made(GIB, baseline=GIB)


def device(nbytes: int) -> Statement:
    return Statement("cuda:0", f"{nbytes / GIB:.1f} GiB of 80.0 GiB free", nbytes=nbytes, kind="device")


def test_a_device_with_its_own_memory_takes_its_part() -> None:
    plan = made(64 * GIB, device=device(2 * GIB))
    assert plan.subsampled
    there, here = (
        sum(q.nbytes for q in plan.phases["fitting"] if (q.name in FIT_ON_DEVICE) == on) for on in (True, False)
    )
    assert 0.9 * 0.7 * 2 * GIB < there * 1.05 <= 0.7 * 2 * GIB
    assert plan.device_peak_nbytes == there + int(0.05 * there)
    assert here < plan.peak_nbytes < plan.allowed_nbytes
    assert not made(64 * GIB, device=device(80 * GIB)).subsampled
    # What is on the device is not in this process: 3 GiB here are enough for it, and not without a device.
    assert not made(3 * GIB, device=device(80 * GIB)).subsampled
    assert made(3 * GIB).subsampled
    assert made(3 * GIB).device_peak_nbytes == 0


def test_each_side_has_its_sum_and_its_limit_in_the_table() -> None:
    text = made(64 * GIB, device=device(2 * GIB)).explain()
    assert [line.split()[:2] for line in text.splitlines() if " sum " in line] == 3 * [
        ["process", "sum"],
        ["cuda:0", "sum"],
    ]
    *_, here, there = text.splitlines()
    assert here.split(maxsplit=3) == ["allowed", "44.8", "GiB", "64.0 GiB (given, safety 0.7)"]
    assert there.split(maxsplit=3) == ["allowed", "1.4", "GiB", "2.0 GiB of 80.0 GiB free, safety 0.7"]


def test_the_side_that_lacks_room_is_named_with_its_own_limit_and_way_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        made(64 * GIB, device=device(2 * GIB)).tell()
    told = " GiB of cuda:0 but 1.4 GiB are allowed (2.0 GiB of 80.0 GiB free, safety 0.7): each step takes"
    assert told in caplog.text
    with pytest.raises(BudgetError) as error:
        made(64 * GIB, device=device(64 * MIB))
    assert re.fullmatch(
        r"the fit needs at least [0-9.]+ MiB of cuda:0 while [a-z]+ but 44\.8 MiB are allowed \(0\.1 GiB of 80\.0 "
        r"GiB free, safety 0\.7\); give device='cpu', a device with more memory, or about [0-9,]+ features",
        str(error.value),
    )
    with pytest.raises(BudgetError, match=r"while starting but 716\.8 MiB are allowed \(given, .*; give more memory"):
        made(GIB, device=device(80 * GIB))
    with pytest.raises(BudgetError, match=r"a device with more memory: no feature would fit$"):
        made(64 * GIB, device=device(MIB))


def test_only_cuda_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.statement(torch.device("cpu")) is None
    monkeypatch.setattr(devices, "cuda_memory", lambda _: (6 * GIB, 16 * GIB))
    found = devices.statement(torch.device("cuda:1"))
    assert found == Statement("cuda:1", "6.0 GiB of 16.0 GiB free", nbytes=6 * GIB, kind="device")


@settings(deadline=None)
@given(
    ncells=st.integers(1, 10**6),
    nfeatures=st.integers(1, 50_000),
    ngroups=st.integers(1, 50),
    nsamples=st.integers(1, 5000),
    density=st.floats(0.001, 1),
    minibatch_size=st.none() | st.integers(1, 2000),
    nbytes=st.integers(100 * MIB, 512 * GIB),
)
def test_any_fit_is_planned_or_refused_in_a_line(
    ncells: int, nfeatures: int, ngroups: int, nsamples: int, density: float, minibatch_size: int | None, nbytes: int
) -> None:
    nnz = int(ncells * nfeatures * density) + 1
    facts = FitFacts(ncells, nfeatures, ngroups, nsamples, nnz, npairs=min(nnz, 100 * nfeatures))
    try:
        plan = made(nbytes, facts, minibatch_size=minibatch_size)
    except BudgetError:
        with pytest.raises(BudgetError, match=r"^the fit needs at least .* are allowed .*; give more memory.*$"):
            made(nbytes, facts, minibatch_size=minibatch_size)
        return
    check(plan)
