"""Kernel and twin, each with tier 3, give the proven quantiles at the corners of the domain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamsample.exact import settle
from streamsample.kernels.negbin import OVERFLOW, UNDECIDED
from tests.golden.make_grid import COUNT_MAX, MEANS, PHIS, POINTS
from tests.kernels.referee import Elements

LINES = (Path(__file__).parent / "golden" / "grid-1.txt").read_text().splitlines()[2:]
ROWS = [line.split() for line in LINES]
COUNTS = [None if row[3] == "overflow" else int(row[3]) for row in ROWS]


def elements() -> Elements:
    m, phi, u = (np.array([float.fromhex(row[column]) for row in ROWS]) for column in range(3))
    found = Elements(m, phi, (u * 2.0**52).astype(np.int64))
    np.testing.assert_array_equal(found.u, u)
    return found


def by_kernel(grid: Elements) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return grid.quantiles()


def by_twin(grid: Elements) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    from tests.compiled import _twin

    counts, status = np.empty(grid.m.size, np.int64), np.empty(grid.m.size, np.uint8)
    _twin.quantiles(grid.m, grid.phi, grid.u, counts, status)
    return counts, status


def settled(grid: Elements, counts: NDArray[np.int64], status: NDArray[np.integer]) -> Iterator[int | None]:
    """What becomes of each element; None is an overflow."""
    for m, phi, u, count, state in zip(grid.m, grid.phi, grid.u, counts, status, strict=True):
        if state == OVERFLOW:
            yield None
            continue
        y = settle(float(m), float(phi), float(u), int(count)) if state == UNDECIDED else int(count)
        yield y if y <= COUNT_MAX else None


def test_the_grid_is_whole() -> None:
    grid = elements()
    assert sorted(zip(grid.phi, grid.m, grid.j, strict=True)) == sorted(
        (phi, m, j) for phi in PHIS for m in MEANS for j in POINTS
    )
    assert COUNTS.count(None) > 10
    assert math.isinf(max(grid.phi))


@pytest.mark.parametrize("way", [by_kernel, by_twin])
def test_every_corner(way) -> None:
    grid = elements()
    counts, status = way(grid)
    found = list(settled(grid, counts, status))
    wrong = [(LINES[i], found[i]) for i in range(len(LINES)) if found[i] != COUNTS[i]]
    assert wrong == []
    assert (status == UNDECIDED).mean() < 0.02


def test_tier_3_alone_confirms_each_of_them() -> None:
    """From its neighbour; but not where a single count takes long (large means, u in a tail)."""
    grid = elements()
    for i in range(0, len(ROWS), 3):
        count = COUNTS[i]
        if count is not None and 0 < grid.m[i] <= 1e4:
            assert settle(float(grid.m[i]), float(grid.phi[i]), float(grid.u[i]), count + 1) == count
