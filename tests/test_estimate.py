from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsample.budget import Budget, Statement
from streamsample.errors import BudgetError, PlanError
from streamsample.estimate import estimate_predictive_memory, predictive_estimate
from streamsample.units import GIB, MIB

N, T, C, S = 21_761, 28_868, 2, 1000
NODE = Budget(nbytes=32 * 15900 * MIB, cpus=32)


def test_the_worked_example_in_bytes() -> None:
    estimate = predictive_estimate(N, T, C, S, budget=NODE)
    assert estimate.input_nbytes == (21_761 * 28_868 + 21_761) * 4 == 2_512_873_236
    assert estimate.params_nbytes == (2 * 28_868 + 3 * 28_868) * 4 == 577_360
    assert estimate.output_nbytes == 21_761 * 28_868 * 4 == 2_512_786_192
    room = estimate.room
    assert room is not None
    assert room.allowed_nbytes == 533_515_468_800 * 7 // 10
    assert room.fitting == 147
    assert (estimate.minibatch_size, estimate.nbatches, estimate.use_parallel) == (100, 10, True)
    assert estimate.batch_nbytes == 2_512_873_236 + 100 * (2_512_786_192 + 577_360)
    assert round(estimate.batch_nbytes / GIB) == 236
    assert room.workers == 32
    assert room.parallel_nbytes == 32 * (2_512_873_236 + 10 * 577_360)
    assert round(room.parallel_nbytes / GIB) == 75


@pytest.mark.parametrize(
    ("budget", "safety"), [(NODE, 0.35), (replace(NODE, dedicated=False), None)], ids=["given", "shared"]
)
def test_the_worked_example_on_a_shared_node(budget: Budget, safety: float | None) -> None:
    estimate = predictive_estimate(N, T, C, S, safety_factor=safety, budget=budget)
    assert estimate.room is not None
    assert (estimate.room.fitting, estimate.minibatch_size, estimate.nbatches) == (73, 73, 14)
    assert estimate_predictive_memory(N, T, C, S, safety_factor=safety, budget=budget) == (73, True)


def test_json_holds_every_quantity() -> None:
    facts = json.loads(json.dumps(predictive_estimate(N, T, C, S, budget=NODE).to_json()))
    assert (facts["minibatch_size"], facts["nbatches"], facts["batch_nbytes"]) == (100, 10, 253_849_228_436)
    assert (facts["room"]["fitting"], facts["room"]["budget"]["nbytes"]) == (147, NODE.nbytes)
    assert predictive_estimate(N, T, C, S, minibatch_size=3).to_json()["room"] is None


@pytest.mark.parametrize(("safety", "fitting", "minibatch"), [(0.7, 147, 100), (0.35, 73, 73)])
@pytest.mark.parametrize("psutil", [True, False])
def test_a_given_budget_needs_no_psutil(
    psutil: bool, safety: float, fitting: int, minibatch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not psutil:
        monkeypatch.setitem(sys.modules, "psutil", None)
    estimate = predictive_estimate(N, T, C, S, safety_factor=safety, budget=NODE)
    assert estimate.room is not None
    assert estimate.room.allowed_nbytes == int(safety * 533_515_468_800)
    assert estimate.room.output_nbytes == estimate.room.allowed_nbytes - 2_512_873_236
    assert estimate.room.fitting == fitting == estimate.room.output_nbytes // (2_512_786_192 + 577_360)
    assert (estimate.minibatch_size, estimate.use_parallel) == (minibatch, True)
    assert estimate.batch_nbytes == 2_512_873_236 + minibatch * (2_512_786_192 + 577_360)


def test_all_samples_fit() -> None:
    estimate = predictive_estimate(100, 10, 2, 500, budget=NODE)
    assert (estimate.minibatch_size, estimate.use_parallel) == (None, True)
    assert (estimate.batch, estimate.nbatches) == (500, 1)


@pytest.mark.parametrize(("nsamples", "minibatch"), [(147, None), (148, 100), (99, None)])
def test_no_minibatch_where_all_samples_just_fit(nsamples: int, minibatch: int | None) -> None:
    assert estimate_predictive_memory(N, T, C, nsamples, budget=NODE) == (minibatch, True)


def test_workers_are_the_cpus_up_to_32() -> None:
    for cpus, workers in ((1, 1), (31, 31), (32, 32), (128, 32)):
        room = predictive_estimate(N, T, C, S, budget=replace(NODE, cpus=cpus)).room
        assert room is not None
        assert room.workers == workers


def test_parallel_is_given_up_before_the_minibatch() -> None:
    # 32 workers need 75 GiB, one sample with the input needs 4.7 GiB.
    assert estimate_predictive_memory(N, T, C, S, safety_factor=1, budget=Budget(75 * GIB, 32)) == (31, False)
    assert estimate_predictive_memory(N, T, C, S, safety_factor=1, budget=Budget(76 * GIB, 32)) == (31, True)


def test_the_smallest_budget_and_one_byte_less() -> None:
    needed = 2_512_873_236 + 2_512_786_192 + 577_360
    assert estimate_predictive_memory(N, T, C, S, safety_factor=1, budget=Budget(needed, 2)) == (1, False)
    with pytest.raises(BudgetError, match=r"needs 4\.68 GiB for a single sample but 4\.68 GiB are allowed"):
        estimate_predictive_memory(N, T, C, S, safety_factor=1, budget=Budget(needed - 1, 2))


@pytest.mark.parametrize("budget", [None, NODE, Budget(1, 1)])
def test_a_users_minibatch_is_returned(budget: Budget | None) -> None:
    assert estimate_predictive_memory(N, T, C, S, minibatch_size=10, budget=budget) == (10, True)


def test_without_psutil_only_a_given_budget_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert estimate_predictive_memory(N, T, C, S) == (50, False)
    assert estimate_predictive_memory(N, T, C, S, minibatch_size=7) == (7, True)
    assert estimate_predictive_memory(N, T, C, S, budget=NODE) == (100, True)
    detected = replace(NODE, sources=(Statement("/proc/meminfo", "", NODE.nbytes),), tightest="/proc/meminfo")
    assert estimate_predictive_memory(N, T, C, S, budget=detected) == (50, False)


def test_a_budget_that_is_not_given_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.setenv("STREAMSAMPLE_MEMORY", "508800M")
    minibatch, _ = estimate_predictive_memory(N, T, C, S)
    assert minibatch == 100


def test_other_distributions_are_refused_by_name() -> None:
    with pytest.raises(PlanError, match="'multinomial'"):
        estimate_predictive_memory(N, T, C, S, distribution="multinomial", minibatch_size=3, budget=NODE)


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1, 1, None), (1, 0, 1, 1, None), (1, 1, 0, 1, None), (1, 1, 1, 0, None), (1, 1, 1, 1, 0)]
)
def test_sizes_must_be_positive(sizes: tuple[int, int, int, int, int | None]) -> None:
    n, t, c, nsamples, minibatch = sizes
    with pytest.raises(PlanError, match="is 0; it must be at least 1"):
        estimate_predictive_memory(n, t, c, nsamples, minibatch, budget=NODE)


@settings(deadline=None)
@given(
    n=st.integers(1, 10**6),
    t=st.integers(1, 10**5),
    c=st.integers(1, 50),
    s=st.integers(1, 5000),
    gib=st.integers(1, 2000),
    cpus=st.integers(1, 256),
)
def test_a_batch_fits_and_a_larger_one_would_not_or_is_capped(
    n: int, t: int, c: int, s: int, gib: int, cpus: int
) -> None:
    budget = Budget(gib * GIB, cpus)
    per_sample = (n * t + c * t + 3 * t) * 4
    try:
        estimate = predictive_estimate(n, t, c, s, budget=budget)
    except BudgetError:
        assert (n * t + n) * 4 + per_sample > budget.allowed()
        return
    assert estimate.room is not None
    assert 1 <= estimate.batch <= s
    assert estimate.batch_nbytes <= budget.allowed()
    assert (estimate.nbatches - 1) * estimate.batch < s <= estimate.nbatches * estimate.batch
    if estimate.batch < min(s, 100):
        assert estimate.batch_nbytes + per_sample > budget.allowed()
    assert estimate.use_parallel == (estimate.room.parallel_nbytes <= budget.allowed())
