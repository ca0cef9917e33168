"""What a fit holds in memory: every quantity named, in bytes, in one place.

A fit is planned in phases, of which one is over before the next begins, so the peak is the largest of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamsample.memory_model import Quantity
from streamsample.units import MIB

SORTED_COUNTS = 2**21
"""Counts that a fit sorts at a time, to find those that repeat."""
_SORT_NBYTES = 34  # of a count while it is sorted; the sums over cells that nodes need take less
_SORTING_NBYTES = _SORT_NBYTES * SORTED_COUNTS
_PAIR_NBYTES = 48  # a pair of feature and count: 24 are kept, the others while pairs are collected
_OWN_COUNTS_NBYTES = 8  # of a count above zero, in the copy without the features that are left out
_TRANSPOSED_NBYTES = 12  # of the same, where medians of the reference group run along memory
_MEDIANS_NBYTES = 3 * 8 * 2**22  # three blocks of float64
_STATES = 24  # float32 arrays of the parameters' size: guide, gradients, two moments, a draw and what autograd keeps
_DRAW_COPIES = 5  # of a sample's parameters while it is drawn: noise, latent values, results (2.9 to 4.2 measured)
_CHECKED_NBYTES = 3 * 32 * MIB  # float64 blocks in which draws are compared with the stream's domain
_TORCH_NBYTES = 64 * MIB  # what torch and Pyro load and keep in the first steps (50 measured)
FIT_BLOCK = 2**16
"""Counts of nodes by features that a thread of a fit has in work: temporaries stay in the second-level cache."""

FIT_ON_DEVICE = frozenset({"nodes", "repeats", "parameters", "blocks", "minibatch"})
"""Names of the fit's quantities that are on the device where torch computes; the others are in this process."""


@dataclass(frozen=True)
class FitFacts:
    """What the plan of a fit must know of the counts and of the draws to be made."""

    ncells: int
    """N."""
    nfeatures: int
    """T, those that are fitted."""
    ngroups: int
    """C."""
    nsamples: int
    """S."""
    nnz: int
    """Counts above zero."""
    npairs: int
    """Most different pairs of a feature and a count above zero."""
    all_features: int | None = None
    """Features of the posterior, those that are left out of the fit included; None: there are none of these."""
    nodes: int | None = None
    """Size factors that stand for those of the cells; None: each cell's own."""

    @property
    def draw_nbytes(self) -> int:
        """One sample's mu, phi and alpha as float32."""
        return 4 * (2 + self.ngroups) * self.nfeatures


def fit_phases(
    facts: FitFacts, baseline: int, threads: int, cells: int, minibatch: int
) -> dict[str, tuple[Quantity, ...]]:
    """List what a fit holds in each phase, with `cells` cells in a step and `minibatch` draws in work."""
    own = 0 if facts.all_features is None else _OWN_COUNTS_NBYTES * facts.nnz
    process = Quantity("process now", baseline, "anonymous and shared memory in use before, observed counts included")
    counts = Quantity("counts", own, "sparse counts of the features that are fitted, where some are left out")
    kept, dense = facts.nsamples * facts.draw_nbytes, 3 * 8 * facts.ncells * facts.nfeatures
    spread = facts.nsamples * 4 * (2 + facts.ngroups) * (facts.all_features or 0)
    return {
        "starting": (
            process,
            counts,
            Quantity("transposed", _TRANSPOSED_NBYTES * facts.nnz, "the reference group's counts, a feature at a time"),
            Quantity("medians", min(_MEDIANS_NBYTES, dense), "of some features at a time, in float64"),
        ),
        "fitting": (process, counts, *_step_quantities(facts, threads, cells)),
        "drawing": (
            process,
            counts,
            Quantity("torch", _TORCH_NBYTES, "libraries of torch and Pyro that are loaded on the way"),
            Quantity("minibatch", _DRAW_COPIES * minibatch * facts.draw_nbytes, f"{minibatch} samples while drawn"),
            Quantity("draws", kept, f"{facts.nsamples:,} samples of mu, phi and alpha, float32"),
            Quantity("posterior", spread, "the same with the features that are left out"),
            Quantity(
                "checks", min(_CHECKED_NBYTES, 6 * kept), "draws compared with the stream's domain, some at a time"
            ),
        ),
    }


def _step_quantities(facts: FitFacts, threads: int, cells: int) -> tuple[Quantity, ...]:
    """List what the steps of a fit take, the counts of all cells aside."""
    share, nodes = cells / facts.ncells, min(cells, facts.ncells if facts.nodes is None else facts.nodes)
    nnz = math.ceil(facts.nnz * share)
    chosen = 0 if cells == facts.ncells else _OWN_COUNTS_NBYTES * nnz
    return (
        Quantity("torch", _TORCH_NBYTES, "libraries of torch and Pyro that are loaded on the way"),
        Quantity("chosen cells", chosen, "counts of a step's cells, sparse"),
        Quantity("sorting", min(_SORT_NBYTES * nnz, _SORTING_NBYTES), "counts in work while repeats or nodes are made"),
        Quantity("nodes", 8 * nodes * facts.nfeatures, f"float64, {nodes:,} for {cells:,} cells, and their counts"),
        Quantity("repeats", _PAIR_NBYTES * min(facts.npairs, nnz), "pairs of a feature and a count, and how often"),
        Quantity("parameters", 4 * _STATES * (facts.ngroups + 2) * facts.nfeatures, f"{_STATES} arrays of their size"),
        Quantity("blocks", 8 * 5 * FIT_BLOCK * threads, f"temporaries of {threads} threads"),
    )
