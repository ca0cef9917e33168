"""Cells are laid out so that each one lies in its own quad and between its own bin's edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.bins import FEWEST_CELLS, MOST_BINS, Layout, lay_out

FACTORS = st.sampled_from([0.0, 5e-324, 0.3, 1.0, 1.0000000000000002, 4.0, 1e7]) | st.floats(0.0, 1e3)


def check(layout: Layout, cells: list[int], factors: list[float], group: list[int], ngroups: int) -> None:
    """What the kernel takes for granted."""
    rows: dict[int, int] = {}
    for quad, lanes in zip(layout.quads, layout.lanes, strict=True):
        assert (lanes >= 0).any(), "a quad without a cell costs time for nothing"
        rows |= {int(row): 4 * int(quad) + lane for lane, row in enumerate(lanes) if row >= 0}
    assert [rows[n] for n in range(len(cells))] == cells
    assert len(rows) == len(cells)
    assert np.unique(layout.quads).size == layout.quads.size
    assert layout.starts.shape == (ngroups + 1,)
    if layout.edges.size == 0:
        assert not layout.starts.any()
        return
    assert layout.starts[-1] == layout.edges.size
    for n, (factor, c) in enumerate(zip(factors, group, strict=True)):
        low = layout.low_edge[n]
        assert layout.starts[c] <= low < layout.starts[c + 1] - 1, "both edges are of the cell's group"
        assert layout.edges[low] <= factor <= layout.edges[low + 1]
    for c in range(ngroups):
        assert (np.diff(layout.edges[layout.starts[c] : layout.starts[c + 1]]) >= 0).all()


@given(st.data())
def test_every_cell_has_its_quad_and_its_bin(data: st.DataObject) -> None:
    ngroups = data.draw(st.integers(1, 4))
    cells = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=200, unique=True))
    cell = st.tuples(FACTORS, st.integers(0, ngroups - 1))
    described = data.draw(st.lists(cell, min_size=len(cells), max_size=len(cells)))
    factors, group = [f for f, _ in described], [c for _, c in described]
    check(lay_out(np.array(cells), np.array(factors), np.array(group), ngroups), cells, factors, group, ngroups)


@pytest.mark.parametrize("ncells", [1, FEWEST_CELLS - 1, FEWEST_CELLS, 700, 20_000])
@pytest.mark.parametrize("ngroups", [1, 3])
def test_bins_pay(ncells: int, ngroups: int) -> None:
    rng = np.random.default_rng(0)
    factors, group = rng.lognormal(0, 0.4, ncells), rng.integers(0, ngroups, ncells)
    layout = lay_out(np.arange(ncells), factors, group, ngroups)
    check(layout, list(range(ncells)), factors.tolist(), group.tolist(), ngroups)
    if ncells < FEWEST_CELLS:
        assert layout.edges.size == 0
        return
    for c in range(ngroups):
        nbins = layout.starts[c + 1] - layout.starts[c] - 1
        assert 1 < nbins <= MOST_BINS // ngroups + 1
        filled = np.bincount(layout.low_edge[group == c])
        assert filled.max() <= 1.5 * (group == c).sum() / nbins + 2, "bins hold equal numbers of cells"


def test_equal_depths_need_one_bin_of_no_width() -> None:
    layout = lay_out(np.arange(100), np.ones(100), np.zeros(100, dtype=np.int64), 1)
    assert layout.edges.tolist() == [1.0, 1.0]
    assert not layout.low_edge.any()


def test_a_group_without_cells_has_no_edges() -> None:
    layout = lay_out(np.arange(100), np.linspace(1, 2, 100), np.full(100, 2), 4)
    assert layout.starts[1] == layout.starts[2] == 0
    assert layout.starts[3] == layout.starts[4] == layout.edges.size > 2


def test_very_many_groups_go_without_brackets() -> None:
    group = np.arange(1000) % (MOST_BINS // 2 + 1)
    assert lay_out(np.arange(1000), np.ones(1000), group, int(group.max()) + 1).edges.size == 0
    few = group % (MOST_BINS // 2)
    assert 0 < lay_out(np.arange(1000), np.ones(1000), few, int(few.max()) + 1).edges.size <= MOST_BINS
