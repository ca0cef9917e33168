"""The same parameters, applied to other cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamsample.errors import PosteriorError
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.posteriors import listed, named_posterior

SHAPE = (5, 12, 7)


def test_other_cells_get_the_same_parameters() -> None:
    posterior = named_posterior(SHAPE)
    other = posterior.for_cells([0.5, 2.0, 1.0], [1, 0, 1], ["x", "y", "z"])
    assert other.shape == (5, 3, 7)
    assert other.source is posterior.source
    assert other.origin is posterior.origin
    assert other.cells.group.tolist() == [1, 0, 1]
    assert listed(other.cells.names) == ["x", "y", "z"]
    assert other.digest() != posterior.digest()
    assert posterior.shape == SHAPE
    same = posterior.for_cells(posterior.cells.size_factor, posterior.cells.group, listed(posterior.cells.names))
    assert same.digest() == posterior.digest()


def test_other_cells_are_numbered_from_0() -> None:
    posterior = named_posterior(SHAPE)
    part = posterior.for_cells(posterior.cells.size_factor[4:8], posterior.cells.group[4:8])
    whole, counts = CountStream(posterior)[:], CountStream(part)[:]
    assert counts.shape == (5, 4, 7)
    assert not np.array_equal(counts, whole[:, 4:8])
    first = posterior.for_cells(posterior.cells.size_factor[:8], posterior.cells.group[:8])
    np.testing.assert_array_equal(CountStream(first)[:], whole[:, :8])


@pytest.mark.parametrize(
    "kind", [list, np.array, lambda labels: np.array(labels, dtype=object), pd.Series, pd.Categorical]
)
def test_groups_by_name(kind: Any) -> None:
    other = named_posterior(SHAPE).for_cells(np.ones(4), kind(["rep_1", "rep_0", "rep_1", "rep_1"]))
    assert other.cells.group.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("cells", "group", "message"),
    [
        ([1.0, 1.0, 1.0], ["rep_1", "rep_7", "rep_7"], r"group 'rep_7' was not fitted .*fitted are: rep_0, rep_1"),
        ([1.0, 1.0], [0, 2], r"group 2 of cell 1 is not in \[0, 2\)"),
        ([1.0, 1.0], [0], r"group has shape \(1,\) but there are 2 size factors"),
        ([1.0, np.nan], [0, 1], r"the first is nan at cell 1"),
        ([], None, r"has no cells"),
    ],
)
def test_cells_that_can_not_be_predicted(cells: Any, group: Any, message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        named_posterior(SHAPE).for_cells(cells, group)
    assert "\n" not in str(error.value)


def test_named_groups_need_names() -> None:
    with pytest.raises(PosteriorError, match="has no group names; give groups as integers"):
        Posterior.from_arrays([[1.0]], [[1.0]], n_cells=1).for_cells([1.0], ["a"])


def test_values_are_checked_at_the_depth_of_the_cells_applied_to() -> None:
    deep = named_posterior(SHAPE).for_cells([1e12], [1])
    with pytest.raises(PosteriorError, match=r"group 1's largest size factor 1e\+12 must be at most 1e\+07"):
        deep.check()
    named_posterior(SHAPE).for_cells([0.0], [1]).check()
