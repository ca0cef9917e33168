"""What a slab's kernel needs to know of its cells: quads that share words, and bins of size factors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.designs import Design
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray

# Bins cost time in proportion to their number, and save it in inverse proportion: the best number grows with the root
# of the cells (measured for 96 cells: a factor of 1.5 is 5 % faster than 1, and 0.7 is 11 % slower).
BINS_A_ROOT = 1.5
MOST_BINS = 96  # over all groups; a bin's table of a block of 512 features takes 16 KiB of a core's L2
FEWEST_CELLS = 32  # below, no table pays

_NONE = np.empty(0, dtype=np.int64)


class Layout(NamedTuple):
    """Cells of a slab in the kernel's order."""

    quads: NDArray[np.uint64]
    """(Q,) numbers of the quads that hold the cells."""
    lanes: IndexArray
    """(Q, 4) row of each cell of the quad, or -1."""
    size_factor: FloatArray
    """(N,)."""
    log_factor: FloatArray
    """(N,) its logarithm."""
    group: IndexArray
    """(N,)."""
    factor_range: FloatArray
    """(C, 2) least and largest size factor of a group; (inf, 0) where it has no cell."""
    low_edge: IndexArray
    """(N,) the bin's lower edge among `edges`; the upper one is next."""
    edges: FloatArray
    """(E,) edges of all groups' bins, increasing within a group; none where no table pays."""
    starts: IndexArray
    """(C + 1,) where each group's edges begin."""
    begin: IndexArray
    """(N + 1,) where each cell's part of the design begins; all 0 where there is none."""
    covariates: IndexArray
    """Covariates, rising within a cell."""
    values: FloatArray
    """Their values."""


def lay_out(
    cells: IndexArray, size_factor: FloatArray, group: IndexArray, ngroups: int, design: Design | None = None
) -> Layout:
    """Arrange cells for the kernel.

    Parameters
    ----------
    cells
        (N,) indices into the posterior's cells, each at most once.
    size_factor, group
        (N,) of these cells.
    ngroups
        C.
    design
        Covariates of these cells, if there are any.
    """
    quads, quad_of = np.unique(cells >> 2, return_inverse=True)
    lanes = np.full((quads.size, 4), -1, dtype=np.int64)
    lanes[quad_of, cells & 3] = np.arange(cells.size)
    starts = np.zeros(ngroups + 1, dtype=np.int64)
    low_edge = np.zeros(cells.size, dtype=np.int64)
    edges = []
    # Every group takes two edges at least: with very many of them the tables would be larger than the cache.
    # With a design the mean is not a function of the size factor.
    if design is None and cells.size >= FEWEST_CELLS and 2 * np.count_nonzero(np.bincount(group)) <= MOST_BINS:
        for c in range(ngroups):
            members = np.flatnonzero(group == c)
            found = _edges(size_factor[members], MOST_BINS * members.size // cells.size)
            low_edge[members] = starts[c] + _bin_of(size_factor[members], found)
            starts[c + 1] = starts[c] + found.size
            edges.append(found)
    every = np.concatenate(edges) if edges else np.empty(0)
    with np.errstate(divide="ignore"):  # a size factor of 0 is for the brackets
        log_factor = np.log(size_factor)
    factor_range = np.array([_range(size_factor[group == c]) for c in range(ngroups)])
    begin, covariates, values = np.zeros(cells.size + 1, np.int64), _NONE, np.empty(0)
    if design is not None:
        begin, covariates, values = design.rows()
    return Layout(
        quads.astype(np.uint64), lanes, size_factor, log_factor, group, factor_range, low_edge, every, starts,
        begin, covariates, values,
    )  # fmt: skip


def _range(factors: FloatArray) -> tuple[float, float]:
    """Least and largest; an empty range where there are none."""
    return (float(factors.min()), float(factors.max())) if factors.size else (np.inf, 0.0)


def _edges(factors: FloatArray, share: int) -> FloatArray:
    """Edges between which the given size factors lie, at equal counts of cells."""
    if factors.size == 0:
        return np.empty(0)
    nbins = max(1, min(share, int(BINS_A_ROOT * np.sqrt(factors.size))))
    edges = np.unique(np.quantile(factors, np.linspace(0, 1, nbins + 1), method="nearest"))
    return edges if edges.size > 1 else np.repeat(edges, 2)


def _bin_of(factors: FloatArray, edges: FloatArray) -> IndexArray:
    """Number of the bin of each size factor; both of its edges belong to a bin."""
    if factors.size == 0:
        return np.empty(0, dtype=np.int64)
    return np.clip(np.searchsorted(edges, factors, side="right") - 1, 0, edges.size - 2)
