"""Indices mean what they mean to NumPy, and pieces cover everything once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.errors import SelectionError
from streamsample.geometry import (
    Selection,
    Slab,
    index_from_json,
    index_to_json,
    minibatches,
    once,
    resolve,
    slabs,
)

SHAPE = (7, 11, 5)
BOUNDS = st.none() | st.integers(-15, 15)
STEPS = st.none() | st.integers(-4, 4).filter(bool)


@given(st.lists(st.integers(-5, 5)))
def test_each_index_once_and_rising(values: list[int]) -> None:
    index = np.array(values, dtype=np.int64)
    assert once(index).tolist() == sorted(set(values))
    rising = np.unique(index)
    assert once(rising) is rising  # nothing is sorted or copied


@given(st.builds(slice, BOUNDS, BOUNDS, STEPS))
def test_slices_are_numpys(key: slice) -> None:
    assert resolve(key, 11, "cell").tolist() == list(range(11))[key]


@given(st.lists(st.integers(-11, 10)), st.sampled_from([np.int8, np.int64, list, tuple]))
def test_lists_are_numpys(key: list[int], kind: Any) -> None:
    found = resolve(np.array(key, dtype=kind) if kind in (np.int8, np.int64) else kind(key), 11, "cell")
    assert found.dtype == np.int64
    assert found.tolist() == np.arange(11)[np.array(key, dtype=int)].tolist()


@given(st.lists(st.booleans(), min_size=11, max_size=11))
def test_masks_are_numpys(mask: list[bool]) -> None:
    assert resolve(mask, 11, "cell").tolist() == np.flatnonzero(mask).tolist()


@given(BOUNDS, BOUNDS, STEPS)
def test_texts_are_slices(start: int | None, stop: int | None, step: int | None) -> None:
    texts = ["" if part is None else str(part) for part in (start, stop, step)]
    for text in [":".join(texts)] + ([":".join(texts[:2])] if step is None else []):
        assert resolve(text, 11, "cell").tolist() == list(range(11))[start:stop:step]


@pytest.mark.parametrize(
    ("key", "positions"),
    [(None, list(range(11))), (3, [3]), (-1, [10]), ("4", [4]), (" -2 ", [9]), (np.uint16(5), [5]), ([], [])],
)
def test_single_things(key: Any, positions: list[int]) -> None:
    assert resolve(key, 11, "cell").tolist() == positions


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (11, r"cell 11 is out of bounds: the axis has 11"),
        ([0, -12], r"cell -12 is out of bounds"),
        ("12", r"cell 12 is out of bounds"),
        (2**63, r"out of bounds"),
        (1.0, r"of type float64; give integers"),
        (["a"], r"of type <U1; give integers"),
        ([True] * 10, r"mask of the cell axis has shape \(10,\), it needs \(11,\)"),
        ([[1]], r"has 2 dimensions; give one list"),
        ("a:b", r"--cells 'a:b' is not a range: write a:b"),
        ("", r"--cells '' is not a range"),
        ("1:2:3:4", r"is not a range"),
        ("1.5", r"is not a range"),
        ("0:9:0", r"--cells '0:9:0' has a step of 0"),
    ],
)
def test_what_no_axis_has(key: Any, message: str) -> None:
    with pytest.raises(SelectionError, match=message) as error:
        resolve(key, 11, "cell")
    assert "\n" not in str(error.value)


@given(st.lists(st.integers(0, 1000)) | st.builds(lambda *a: list(range(*a)), *[st.integers(1, 99)] * 3))
def test_an_index_survives_json(positions: list[int]) -> None:
    text = index_to_json(np.array(positions, dtype=np.int64))
    back = index_from_json(json.loads(json.dumps(text)))
    assert back.dtype == np.int64
    assert back.tolist() == positions


def test_regular_indices_are_short() -> None:
    assert index_to_json(np.arange(10**6)) == "0:1000000:1"
    assert index_to_json(np.arange(3, 50, 7)) == "3:46:7"
    assert index_to_json(np.array([4])) == "4:5:1"
    assert index_to_json(np.array([4, 2])) == [4, 2]
    assert index_to_json(np.array([2, 2])) == [2, 2]
    assert index_to_json(np.array([], dtype=np.int64)) == "0:0:1"


KEYS = st.builds(slice, BOUNDS, BOUNDS, STEPS)


@given(*[KEYS] * 6)
def test_selecting_twice_is_indexing_twice(a: slice, b: slice, c: slice, d: slice, e: slice, f: slice) -> None:
    found = Selection.of(SHAPE, a, b, c).narrow(d, e, f)
    expected = [list(range(size))[x][y] for size, x, y in zip(SHAPE, (a, b, c), (d, e, f), strict=True)]
    assert [index.tolist() for index in (found.samples, found.cells, found.features)] == expected
    assert found.shape == tuple(len(index) for index in expected)
    found.check(SHAPE)
    back = Selection.from_json(json.loads(json.dumps(found.to_json())))
    assert [index.tolist() for index in (back.samples, back.cells, back.features)] == expected


def test_everything_is_selected_unless_said() -> None:
    assert Selection.of(SHAPE).shape == SHAPE
    assert Selection.of(SHAPE).to_json() == {
        "sample_index": "0:7:1",
        "cell_index": "0:11:1",
        "feature_index": "0:5:1",
    }


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 7], "sample 7 is out of bounds: the axis has 7"),
        ([-1], "sample -1 is"),
        ([1, 2, 1], "a sample is selected"),
    ],
)
def test_a_selection_from_elsewhere_is_checked(index: list[int], message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        Selection(np.array(index), np.array([0]), np.array([0])).check(SHAPE)


@given(st.integers(0, 50), st.integers(1, 60))
def test_minibatches_are_runs_that_cover_all_samples(nsamples: int, minibatch: int) -> None:
    runs = list(minibatches(nsamples, minibatch))
    assert [s for s0, s1 in runs for s in range(s0, s1)] == list(range(nsamples))
    assert all(s1 - s0 == minibatch for s0, s1 in runs[:-1])


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 12), st.integers(1, 25), st.booleans())
def test_slabs_are_runs_of_bytes_in_file_order(
    s0: int, nsamples: int, ncells: int, slab_samples: int, slab_cells: int, whole: bool
) -> None:
    """Every count once, and each slab a single run: as planned, it has all cells or one sample."""
    slab_samples, slab_cells = (slab_samples, ncells) if whole else (1, slab_cells)
    at = 0
    for slab in slabs(s0, s0 + nsamples, ncells, slab_samples, slab_cells):
        assert slab.nsamples <= slab_samples
        assert slab.ncells <= slab_cells
        rows = [(s - s0) * ncells + n for s in range(slab.s0, slab.s1) for n in range(slab.n0, slab.n1)]
        assert rows == list(range(at, at + slab.nsamples * slab.ncells))
        at += len(rows)
    assert at == nsamples * ncells


def test_slabs_are_ordered_by_place() -> None:
    assert sorted([Slab(1, 2, 0, 4), Slab(0, 1, 4, 8), Slab(0, 1, 0, 4)])[0] == Slab(0, 1, 0, 4)
