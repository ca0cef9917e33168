"""Plans fit what is allowed, say why, and refuse with numbers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsample import memory_model
from streamsample.budget import Budget
from streamsample.chunking import ROW_NBYTES, Storage
from streamsample.cutting import LARGEST_SLAB_NBYTES, SLAB_CELLS, SLAB_NBYTES
from streamsample.errors import BudgetError, PlanError, StoreError
from streamsample.expectation import ASSUMED
from streamsample.geometry import Selection
from streamsample.kernels import column_tables, columns, dense, gamma, slab, waiting
from streamsample.memory_model import ParameterFacts
from streamsample.planner import decide, plan
from streamsample.sizing import LAST_NBYTES, Plan
from streamsample.target import TargetFacts
from streamsample.units import GIB, MIB, TIB
from tests.fake_stream import FakeStream, fake_posterior
from tests.formats import FORMATS
from tests.plan_invariants import check_plan

TARGET = TargetFacts("counts.h5", ".h5", "ext4", 4000 * TIB)
WORKED_EXAMPLE = ParameterFacts(1000, 21_761, 28_868, 2)
DEMO = ParameterFacts(1000, 2386, 299, 3)


def made(facts: ParameterFacts, nbytes: int, **options: object) -> Plan:
    return decide(facts, Budget(nbytes, 4), TARGET, **{"libraries": 100 * MIB, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("facts", [WORKED_EXAMPLE, DEMO, replace(DEMO, nfeatures=1), replace(WORKED_EXAMPLE, ncells=3)])
@pytest.mark.parametrize("nbytes", [500 * MIB, GIB, 64 * GIB, TIB])
@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_examples_keep_the_invariants(facts: ParameterFacts, nbytes: int, dtype: str) -> None:
    small = replace(facts, nsamples=20)
    check_plan(made(small, nbytes, dtype=dtype))


ANY_FACTS = st.builds(
    ParameterFacts,
    st.integers(1, 40),
    st.integers(1, 3000),
    st.integers(1, 30_000),
    st.integers(1, 5),
    st.sampled_from(["uint8", "uint16", "uint32"]),
    names_nbytes=st.just(0) | st.integers(1, 64 * MIB),
    whole=st.booleans(),
    beyond=st.integers(0, 6),
    design_nbytes=st.just(0) | st.integers(1, 64 * MIB),
)
ANY_STORAGE = [(suffix, Storage(compression, purpose)) for suffix, compression in FORMATS for purpose in ROW_NBYTES]


@settings(max_examples=150, deadline=None)
@given(
    facts=ANY_FACTS,
    nbytes=st.integers(200 * MIB, 8 * GIB),
    cpus=st.integers(1, 64),
    minibatch_size=st.none() | st.integers(1, 100),
    threads=st.none() | st.integers(1, 64),
    safety_factor=st.none() | st.floats(0.05, 1.0),
    stored=st.sampled_from(ANY_STORAGE),
    filesystem=st.sampled_from(["ext4", "btrfs", "nfs4", "tmpfs"]),
)
def test_any_shape_and_budget_is_planned_or_refused(
    facts: ParameterFacts,
    nbytes: int,
    cpus: int,
    minibatch_size: int | None,
    threads: int | None,
    safety_factor: float | None,
    stored: tuple[str, Storage],
    filesystem: str,
) -> None:
    suffix, storage = stored
    target = TargetFacts(f"counts{suffix}", suffix, filesystem)

    def asked(facts: ParameterFacts, nbytes: int) -> Plan:
        return decide(
            facts,
            Budget(nbytes, cpus),
            target,
            minibatch_size=minibatch_size,
            threads=threads,
            safety_factor=safety_factor,
            storage=storage,
            libraries=100 * MIB,
        )

    try:
        found = asked(facts, nbytes)
    except BudgetError:
        # It must not fit indeed: the least possible slabs beside the least possible minibatch are too much.
        least = asked(replace(facts, ncells=min(4, facts.ncells)), 2**50)
        working = {quantity.name: quantity.nbytes for quantity in least.quantities}
        minimum = working["process now"] + working["libraries"] + working["threads"]
        minimum += min(minibatch_size or 1, facts.nsamples) * facts.sample_nbytes
        minimum += 2 * min(4, facts.ncells) * facts.nfeatures * np.dtype(facts.dtype).itemsize
        minimum += sum(working.get(name, 0) for name in ("encoder", "chunk index", "design", "names", "dirty pages"))
        if filesystem == "tmpfs":
            raw = math.prod(facts.shape) * np.dtype(facts.dtype).itemsize
            minimum += raw if storage.compression == "none" else min(raw, int(0.25 * math.prod(facts.shape)))
        assert minimum * 1.1 + 64 * MIB > Budget(nbytes, 4).allowed(safety_factor)
        return
    check_plan(found)
    if minibatch_size is not None:
        assert found.minibatch == min(minibatch_size, facts.nsamples)
    assert found.threads == (threads or cpus)


def test_decide_is_pure() -> None:
    assert made(DEMO, GIB) == made(DEMO, GIB)
    assert decide(DEMO, Budget(GIB, 2), TARGET) == decide(DEMO, Budget(GIB, 2), TARGET)


def test_more_memory_never_cuts_finer() -> None:
    facts = replace(WORKED_EXAMPLE, nsamples=50)
    plans = [made(facts, nbytes) for nbytes in (350 * MIB, 370 * MIB, 400 * MIB, GIB, TIB)]
    slabs = [found.slab_nbytes for found in plans]
    assert slabs == sorted(slabs)
    assert slabs[0] < slabs[-1]


def test_slab_is_large_enough_where_memory_is_plenty() -> None:
    assert SLAB_NBYTES / 2 < made(DEMO, TIB).slab_nbytes <= SLAB_NBYTES
    assert SLAB_CELLS / 2 < made(WORKED_EXAMPLE, TIB).slab_cells <= SLAB_CELLS
    wide = made(replace(WORKED_EXAMPLE, nfeatures=10**6), TIB)
    assert LARGEST_SLAB_NBYTES / 2 < wide.slab_nbytes <= LARGEST_SLAB_NBYTES


def test_model_counts_the_kernels_own_blocks() -> None:
    assert memory_model.BLOCK == slab.BLOCK
    assert memory_model._WAITING_NBYTES == 7 * 8 * waiting.CAPACITY + 8 * dense.ROWS * dense.STRIDE
    of = column_tables
    guides = 2 * (of.MOST_ROWS // of.ROWS_A_GUIDE + 1) * (of.BUCKETS + 1)
    table = 1.5 * of.TABLE + guides + 2 * of.MOST_ROWS + (columns.SCRATCH + 4) * columns.LANES
    assert 0.8 * memory_model._ROUTES_NBYTES < 8 * max(table, gamma.SIZE) < memory_model._ROUTES_NBYTES


def test_slabs_of_a_sample_are_about_alike() -> None:
    found = made(WORKED_EXAMPLE, TIB)
    sizes = [slab.ncells for slab in found.slabs(0, 1)]
    assert max(sizes) - min(sizes) <= 4 * len(sizes)


@pytest.mark.parametrize("storage", [None, Storage("zstd")])
def test_the_last_slab_is_cut_finer(storage: Storage | None) -> None:
    """Nothing is computed while it is written."""
    found = decide(WORKED_EXAMPLE, Budget(TIB, 2), TargetFacts("counts.h5", ".h5"), storage=storage, dtype="uint16")
    nsamples = WORKED_EXAMPLE.nsamples
    before = [slab.ncells for slab in found.slabs(nsamples - 2, nsamples - 1)]
    last = [slab.ncells for slab in found.slabs(nsamples - 1, nsamples)]
    assert last[: len(before) - 1] == before[:-1]
    *tail, end = last[len(before) - 1 :]
    assert sum(tail) + end == before[-1]
    assert tail == sorted(tail, reverse=True)
    unit = found.slab_unit[1]
    assert end <= max(4 * LAST_NBYTES // (2 * WORKED_EXAMPLE.nfeatures), 2 * unit)
    assert all(cells % unit == 0 for cells in tail)


def test_budget_too_small_for_one_slab_is_one_line_with_the_numbers() -> None:
    with pytest.raises(BudgetError) as error:
        decide(WORKED_EXAMPLE, Budget(200 * MIB, 2, tightest="SLURM_MEM_PER_NODE"), TARGET, libraries=100 * MIB)
    text = str(error.value)
    assert text.startswith("one slab needs at least 2")
    assert "140.0 MiB are allowed (SLURM_MEM_PER_NODE, safety 0.7)" in text
    assert text.endswith("give --memory: not even one feature, nor one sample, would fit")
    assert "\n" not in text


def way_out(facts: ParameterFacts, nbytes: int, **options: object) -> list[str]:
    """What a refusal says would fit, beside more memory."""
    with pytest.raises(BudgetError, match=r" are allowed \(given, safety 0\.7\); ") as error:
        made(facts, nbytes, **options)
    text = str(error.value)
    assert "\n" not in text
    return text.partition("give --memory, or ")[2].split()


def test_refusal_says_which_minibatch_would_fit() -> None:
    option, size = way_out(WORKED_EXAMPLE, GIB, minibatch_size=1000)
    assert option == "--minibatch-size"
    assert made(WORKED_EXAMPLE, GIB, minibatch_size=int(size)).minibatch == int(size)
    assert way_out(WORKED_EXAMPLE, GIB, minibatch_size=int(size) + 1) == [option, size]


def test_refusal_says_how_many_threads_would_fit() -> None:
    option, threads = way_out(WORKED_EXAMPLE, GIB, threads=500)
    assert option == "--threads"
    assert made(WORKED_EXAMPLE, GIB, threads=int(threads)).threads == int(threads)
    assert way_out(WORKED_EXAMPLE, GIB, threads=int(threads) + 1) == [option, threads]
    given = way_out(WORKED_EXAMPLE, GIB, threads=500, minibatch_size=1000)
    assert given == [option, threads, "and", "--minibatch-size", "1"]
    assert made(WORKED_EXAMPLE, GIB, threads=int(threads), minibatch_size=1)


def test_refusal_says_how_many_features_would_fit() -> None:
    wide = replace(DEMO, nfeatures=10**7, whole=True)
    option, features, *rest = way_out(wide, 2 * GIB)
    assert (option, rest) == ("--features", ["with", "--threads", "1"])
    nfeatures = int(features.removeprefix("0:"))
    part = replace(wide, nfeatures=nfeatures, stored_features=10**7, whole=False)
    assert made(part, 2 * GIB, threads=1)
    assert way_out(replace(part, nfeatures=nfeatures + 1), 2 * GIB, threads=1) == [option, features]


def test_refusal_says_how_many_samples_would_fit_where_the_output_is_memory() -> None:
    target = replace(TARGET, filesystem="tmpfs")
    few = replace(DEMO, nfeatures=1, nsamples=10**6)  # 2.2 GiB
    with pytest.raises(BudgetError, match=r"; write to a disk, or give --memory, or --samples 0:\d+ ") as error:
        decide(few, Budget(GIB, 4), target, libraries=100 * MIB)
    nsamples = int(re.findall(r"--samples 0:(\d+) with --threads 1$", str(error.value))[0])
    for more, fits in ((0, True), (1, False)):
        asked = replace(few, nsamples=nsamples + more)
        try:
            decide(asked, Budget(GIB, 4), target, libraries=100 * MIB, threads=1)
        except BudgetError:
            assert not fits
        else:
            assert fits


def test_disk_too_small_is_refused_with_the_numbers() -> None:
    target = replace(TARGET, free_nbytes=GIB)
    with pytest.raises(StoreError, match=r"counts\.h5 needs 1\.3 GiB but 1\.0 GiB are free on its disk \(ext4\)"):
        decide(DEMO, Budget(GIB, 2), target)
    with pytest.raises(StoreError, match=r"files are limited to 1\.0 GiB \(RLIMIT_FSIZE\)"):
        decide(DEMO, Budget(GIB, 2), replace(TARGET, file_limit_nbytes=GIB))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int64"}, "counts can't be stored as 'int64'"),
        ({"threads": 0}, "threads is 0"),
        ({"minibatch_size": -1}, "minibatch_size is -1"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        made(DEMO, GIB, **options)


def test_fewer_threads_and_smaller_types_need_less() -> None:
    assert made(DEMO, GIB, threads=1).peak_nbytes < made(DEMO, GIB, threads=16).peak_nbytes
    assert made(DEMO, GIB, dtype="uint8").output_nbytes * 4 == made(DEMO, GIB, dtype="uint32").output_nbytes


def test_explain_names_every_quantity_and_to_json_is_json() -> None:
    found = made(DEMO, GIB)
    text = found.explain()
    for quantity in found.quantities:
        assert quantity.name in text
    for number in ("713.4 M", "predicted peak", "1.0 GiB (given, safety 0.7)"):
        assert number in text
    items = json.loads(json.dumps(found.to_json()))
    assert items["peak_nbytes"] == sum(items["memory"].values())
    assert (items["files"], len(items["ways"])) == (1, 4)
    assert items["target"] == {
        "path": "counts.h5",
        "suffix": ".h5",
        "filesystem": "ext4",
        "free_nbytes": 4000 * TIB,
        "free_files": None,
        "file_limit_nbytes": None,
    }


@pytest.mark.parametrize("limit", [20 * MIB, GIB])
def test_shards_keep_to_the_limit_of_a_file(limit: int) -> None:
    target = replace(TARGET, suffix=".zarr", file_limit_nbytes=limit)
    found = decide(replace(WORKED_EXAMPLE, nsamples=8), Budget(64 * GIB, 2), target, storage=Storage())
    check_plan(found)
    assert found.chunking is not None
    assert found.counts.encoded_nbytes * found.ncounts / found.nfiles <= limit
    assert found.chunking.shards is not None
    assert np.prod(found.chunking.shards) * found.counts.encoded_nbytes <= limit


def test_compressed_counts_are_refused_where_not_even_their_entropy_fits() -> None:
    known = replace(DEMO, counts=replace(ASSUMED, bits=1.6, why="known"))  # 713 M counts, half of 136 MiB
    for target in (replace(TARGET, free_nbytes=60 * MIB), replace(TARGET, file_limit_nbytes=60 * MIB)):
        with pytest.raises(StoreError, match=r"counts\.h5 needs 68\.0 MiB but"):
            decide(known, Budget(GIB, 2), target, storage=Storage("zstd"))
        decide(known, Budget(GIB, 2), replace(TARGET, free_nbytes=70 * MIB), storage=Storage("zstd"))
        decide(DEMO, Budget(GIB, 2), target, storage=Storage("zstd"))  # of which nothing is known


def test_files_that_the_disk_has_no_room_for_are_refused() -> None:
    target = replace(TARGET, suffix=".zarr", free_files=100)
    with pytest.raises(StoreError, match=r"needs [0-9,]+ files but 100 can still be made on its disk \(ext4\)"):
        decide(WORKED_EXAMPLE, Budget(64 * GIB, 2), target, storage=Storage())
    few = replace(WORKED_EXAMPLE, nsamples=1)
    assert decide(few, Budget(64 * GIB, 2), target, storage=Storage()).nfiles < 10
    assert decide(WORKED_EXAMPLE, Budget(64 * GIB, 2), replace(target, suffix=".h5")).nfiles == 1


def test_plan_gathers_the_facts(tmp_path: Path) -> None:
    posterior = fake_posterior((20, 50, 30), ngroups=2)
    chosen = Selection.of(posterior.shape, samples="2:12", features=[3, 1])
    stream = FakeStream(posterior, chosen=chosen)
    found = plan(stream, tmp_path / "counts.npy", budget=Budget(16 * GIB, 3))  # type: ignore[arg-type]
    check_plan(found)
    assert found.shape == (10, 50, 2)
    assert found.dtype == "uint8"
    assert found.threads == 3
    assert found.counts.why == "by 400 counts looked at"
    assert found.posterior_nbytes == 20 * posterior.facts.bytes_per_sample
    baseline = found.quantities[0].nbytes
    assert 10 * MIB < baseline < 8 * GIB


def test_plan_refuses_targets_before_reading_anything(tmp_path: Path) -> None:
    stream = FakeStream(fake_posterior((2, 3, 4)))
    budget = Budget(GIB, 1)
    with pytest.raises(PlanError, match=r"suffix '\.csv'; counts are written to \.npy or \.h5"):
        plan(stream, tmp_path / "counts.csv", budget=budget)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="there is no folder"):
        plan(stream, tmp_path / "absent" / "counts.h5", budget=budget)  # type: ignore[arg-type]


def test_empty_selection_is_refused(tmp_path: Path) -> None:
    posterior = fake_posterior((2, 3, 4))
    stream = FakeStream(posterior, chosen=Selection.of(posterior.shape, cells=slice(0, 0)))
    with pytest.raises(PlanError, match="holds no counts"):
        plan(stream, tmp_path / "counts.h5", budget=Budget(GIB, 1))  # type: ignore[arg-type]
