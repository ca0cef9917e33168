"""Chunks fit the counts, the memory and what is read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.budget import Budget
from streamsample.chunking import (
    CHUNK_NBYTES,
    ROW_NBYTES,
    SHARD_NBYTES,
    STRIDE_NBYTES,
    Chunking,
    Purpose,
    Storage,
    check_chunking,
    check_compression,
    choose_chunks,
    choose_shards,
)
from streamsample.errors import BudgetError, PlanError
from streamsample.expectation import ASSUMED
from streamsample.keeping import ways
from streamsample.memory_model import ParameterFacts
from streamsample.planner import decide
from streamsample.sizing import Plan
from streamsample.target import TargetFacts
from streamsample.units import GIB, MIB

FULL = (1000, 21_761, 31_467)
SHAPES = st.tuples(st.integers(1, 2000), st.integers(1, 100_000), st.integers(1, 100_000))
PURPOSES = st.sampled_from(["sample", "cell", "feature"])


@given(shape=SHAPES, itemsize=st.sampled_from([1, 2, 4]), purpose=PURPOSES, most=st.integers(4, 10_000))
def test_chunks_are_within_the_counts_and_the_memory(
    shape: tuple[int, int, int], itemsize: int, purpose: str, most: int
) -> None:
    samples, cells, features = choose_chunks(shape, itemsize, purpose, most)  # type: ignore[arg-type]
    assert samples == 1
    assert 1 <= cells <= min(shape[1], most)
    assert 1 <= features <= shape[2]
    assert cells * features * itemsize <= CHUNK_NBYTES
    if math.prod(shape) > 1 and shape[0] * shape[2] > 1:
        assert Chunking((samples, cells, features), "zstd").nchunks(shape) > 1  # which HDF5's index needs
    if shape[1] > most >= 8:
        assert cells % 8 == 0


@given(shape=SHAPES, purpose=PURPOSES, most=st.integers(0, 2 * SHARD_NBYTES))
def test_shards_are_whole_chunks_and_cover_all_features(shape: tuple[int, int, int], purpose: str, most: int) -> None:
    chunks = choose_chunks(shape, 2, purpose)  # type: ignore[arg-type]
    shards = choose_shards(shape, chunks, most)
    assert all(long % short == 0 for long, short in zip(shards, chunks, strict=True))
    assert shards[2] >= shape[2]
    assert shards[0] == 1 or shards[1] >= shape[1]  # so that a slab's chunks are in order in each of them
    least = math.prod(chunks[:2]) * shards[2] / 4
    assert math.prod(shards) / 4 <= max(MIB, min(most, SHARD_NBYTES), least)


def test_shards_of_dense_counts_are_no_larger() -> None:
    """A plan expects 1.5 bytes of counts of some hundreds; at 0.25 the shards were of 5.9 GB."""
    dense = replace(ASSUMED, bits=9.5)
    shape, budget = (200, 20_000, 3000), Budget(16 * GIB, 2)
    facts = ParameterFacts(*shape, 1, "uint16", counts=dense)
    plan = decide(facts, budget, TargetFacts("counts.zarr", ".zarr"))
    assert plan.chunking is not None
    assert plan.chunking.shards is not None
    nbytes = math.prod(plan.chunking.shards) * dense.encoded_nbytes
    assert SHARD_NBYTES / 2 < nbytes <= SHARD_NBYTES
    way = next(way for way in ways(shape, "uint16", 2, dense, 0) if way.name == "compressed")
    assert way.nbytes / way.nfiles <= SHARD_NBYTES


def chunks_read(purpose: str, what: str) -> int:
    """Counts that are decoded to read a sample, a cell or a feature of the full counts."""
    s, n, t = FULL
    _, cells, features = choose_chunks(FULL, 2, purpose)  # type: ignore[arg-type]
    boxes = {"sample": (1, n, t), "cell": (s, 1, t), "feature": (s, n, 1)}
    return math.prod(
        -(-size // length) * length for size, length in zip(boxes[what], (1, cells, features), strict=True)
    )


def test_each_purpose_reads_least_for_its_own() -> None:
    for what in ("cell", "feature"):
        assert chunks_read(what, what) < chunks_read("sample", what) < math.prod(FULL)
    assert chunks_read("cell", "cell") < math.prod(FULL) / 300
    assert chunks_read("feature", "feature") < math.prod(FULL) / 1500
    # `sample` is fair to both others, and small: the bits of whole rows are shuffled together.
    assert chunks_read("sample", "cell") < chunks_read("feature", "cell")
    assert chunks_read("sample", "feature") < chunks_read("cell", "feature")
    assert chunks_read("sample", "sample") < 1.01 * math.prod(FULL[1:])
    assert ROW_NBYTES["sample"] <= STRIDE_NBYTES < ROW_NBYTES["cell"]


def made(suffix: str = ".zarr", shape: tuple[int, int, int] = (8, 20_000, 3000), **options: object) -> Plan:
    budget = options.pop("budget", Budget(2 * GIB, 2))
    target = TargetFacts(f"counts{suffix}", suffix)
    return decide(ParameterFacts(*shape, 1, "uint16"), budget, target, **options)  # type: ignore[arg-type]


@given(shape=SHAPES, nbytes=st.integers(200 * MIB, 20 * GIB), purpose=PURPOSES)
def test_plan_has_slabs_of_whole_chunks_within_the_budget(
    shape: tuple[int, int, int], nbytes: int, purpose: str
) -> None:
    budget = Budget(nbytes, 4, dedicated=True)
    try:
        plan = made(shape=shape, budget=budget, storage=Storage(purpose=purpose))  # type: ignore[arg-type]
    except BudgetError:
        return
    assert plan.chunking is not None
    assert plan.slab_unit == plan.chunking.unit
    assert plan.slab_cells == shape[1] or plan.slab_cells % plan.chunking.chunks[1] == 0
    assert plan.slab_cells == shape[1] or plan.chunking.chunks[1] % 4 == 0
    assert plan.peak_nbytes <= plan.allowed_nbytes
    assert {"encoder", "chunk index"} <= {quantity.name for quantity in plan.quantities}


def test_chunks_of_what_is_continued_stay_with_less_memory() -> None:
    first = made(storage=Storage("zstd", "feature"))
    again = made(budget=Budget(GIB, 1), storage=Storage(kept=first.chunking))
    assert again.layout == first.layout
    assert again.slab_cells % first.slab_unit[1] == 0
    assert made(storage=Storage("lz4", kept=first.chunking)).layout["codec"] == "lz4"


@given(
    shape=SHAPES,
    itemsize=st.sampled_from([1, 2, 4]),
    purpose=PURPOSES,
    most=st.integers(4, 10_000),
    now=st.integers(4, 10_000),
)
def test_chunks_of_the_same_purpose_stay_with_any_memory(
    shape: tuple[int, int, int], itemsize: int, purpose: Purpose, most: int, now: int
) -> None:
    first = Chunking(choose_chunks(shape, itemsize, purpose, most), "zstd", (1, 1, 1))
    assert Storage(purpose=purpose, kept=first).chunking(".zarr", shape, itemsize, now, MIB) == first


def test_another_purpose_gives_other_chunks_than_those_kept() -> None:
    first = made(storage=Storage(purpose="cell"))
    assert made(storage=Storage(kept=first.chunking)).layout == first.layout
    assert made(storage=Storage(purpose="feature", kept=first.chunking)).layout["chunks"] != first.layout["chunks"]


def test_plan_says_what_is_stored_how() -> None:
    plan = made(".h5", storage=Storage("gzip"))
    assert plan.layout == {"chunks": [1, 2000, 32], "codec": "gzip"}
    assert plan.to_json()["codec"] == "gzip"
    text = plan.explain()
    assert "compression" in text
    assert "1 sample x 2,000 cells x 32 features; 1 file" in text
    assert made(".h5").layout == {"chunks": None, "codec": None}
    assert made(".h5").needed_nbytes >= made(".h5").output_nbytes > plan.needed_nbytes == 0


def test_layout_comes_back() -> None:
    for chunking in (made().chunking, made(".h5", storage=Storage("gzip")).chunking):
        assert chunking is not None
        assert Chunking.of_layout(chunking.to_layout()) == chunking


@pytest.mark.parametrize(
    ("suffix", "compression", "complaint"),
    [
        (".npy", "zstd", r"\.npy files can't have the compression 'zstd'; choose none"),
        (".zarr", "gzip", "'gzip'; choose zstd or lz4"),
        (".zarr", "none", "'none'; choose zstd or lz4"),
        (".h5", "snappy", "choose none or gzip or zstd or lz4"),
    ],
)
def test_compressions_that_a_format_lacks_are_refused(suffix: str, compression: str, complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        check_compression(suffix, compression)


def test_auto_is_the_formats_habit() -> None:
    assert [check_compression(suffix, "auto") for suffix in (".npy", ".h5", ".zarr")] == [None, None, "zstd"]


def test_unknown_purpose_is_refused() -> None:
    with pytest.raises(PlanError, match="choose sample, feature, cell"):
        made(storage=Storage(purpose="group"))  # type: ignore[arg-type]


def test_plan_for_another_format_is_refused() -> None:
    for suffix, other in ((".zarr", ".npy"), (".h5", ".zarr"), (".npy", ".zarr")):
        with pytest.raises(PlanError, match=rf"the plan is not for \{suffix} files"):
            check_chunking(suffix, made(other).chunking)
