"""Cells are described by depth and group, and by names where they have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsample.cells import Origin, make_cells, number_groups
from streamsample.errors import PosteriorError


def test_what_is_left_out_is_filled_in() -> None:
    cells = make_cells(None, None, 3, None)
    assert cells.size_factor.tolist() == [1.0, 1.0, 1.0]
    assert cells.group.tolist() == [0, 0, 0]
    assert cells.names is None


def test_types_are_those_of_the_kernel() -> None:
    cells = make_cells(np.array([1, 2], np.float32)[::-1], np.array([1, 0], np.uint8), None, ["a", "b"])
    assert cells.size_factor.dtype == np.float64
    assert cells.group.dtype == np.int64
    assert cells.size_factor.flags.c_contiguous
    assert cells.size_factor.tolist() == [2.0, 1.0]
    assert cells.names is not None
    assert cells.names.tolist() == ["a", "b"]
    assert make_cells([1, 2], None, None, None).size_factor.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("size_factor", "group", "n_cells", "message"),
    [
        (None, None, None, "the number of cells is needed, but n_cells is None"),
        (None, None, 0, "n_cells is 0"),
        ([1.0, 2.0], None, 3, "there are 2 size factors for n_cells = 3"),
        (
            [1.0, np.nan, -1.0],
            None,
            None,
            "2 of 3 size factors are NaN, infinite or negative; the first is nan at cell 1",
        ),
        ([[1.0]], None, None, "size_factor has shape"),
        (["deep"], None, None, "size_factor holds <U4, not numbers"),
        ([1.0], [0.0], None, "group must hold integers in .*, not float64"),
        ([1.0], [True], None, "group must hold integers in .*, not bool"),
    ],
)
def test_cells_without_sense(size_factor: Any, group: Any, n_cells: int | None, message: str) -> None:
    with pytest.raises(PosteriorError, match=message):
        make_cells(size_factor, group, n_cells, None)


def test_groups_are_numbered_by_name() -> None:
    known = np.array(["a", "b", "c"])
    assert number_groups(np.array(["c", "a", "c"]), known).tolist() == [2, 0, 2]
    assert number_groups(np.array([2, 1]), np.array(["1", "2"])).tolist() == [1, 0]


def test_many_groups_are_not_all_listed() -> None:
    with pytest.raises(PosteriorError, match=r"fitted are: g000, .*, g011 and 188 more$"):
        number_groups(np.array(["z"]), np.array([f"g{c:03}" for c in range(200)]))


def test_an_unfitted_group_is_named() -> None:
    with pytest.raises(PosteriorError, match=r"group 'd' was not fitted \(2 such\); fitted are: a, b"):
        number_groups(np.array(["a", "e", "d", "d"]), np.array(["b", "a"]))
    with pytest.raises(PosteriorError, match="no group names"):
        number_groups(np.array(["a"]), None)


def test_an_origin_is_empty_unless_a_fit_fills_it() -> None:
    assert Origin() == Origin(None, (), None, None)
