"""The counts that a fit sees, and the sums over cells that describe them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from streamsample.errors import DataError, FitError
from streamsample.fit.memory import SORTED_COUNTS, FitFacts
from streamsample.geometry import IndexArray, minibatches
from streamsample.parameters import FloatArray, Names, list_names
from streamsample.report.memory import announce

_log = logging.getLogger(__name__)

MANY_GROUPS = 50  # technical groups are replicates, batches, plates; more of them are seldom meant
MUCH_LOST = 0.1  # share of features left out from which on it is likelier a mistake than a few silent genes


@dataclass(frozen=True, eq=False)
class Observations:
    """Counts of N cells in T features, every one of which has counts in each of the C groups."""

    counts: sparse.csr_matrix
    """(N, T) int32."""
    group: IndexArray
    """(N,) in [0, C)."""
    size_factor: FloatArray
    """(N,) positive."""
    ngroups: int
    """C."""
    reference: int
    """The group whose alpha is 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """Sizes ``(N, T)``."""
        ncells, nfeatures = self.counts.shape
        return int(ncells), int(nfeatures)

    def of_cells(self, cells: IndexArray) -> Observations:
        """Take some cells; a group may have none of them."""
        return replace(self, counts=self.counts[cells], group=self.group[cells], size_factor=self.size_factor[cells])

    def group_sums(self, weights: FloatArray | None = None) -> FloatArray:
        """(C, T) sums over each group's cells of the counts, weighted by (N,) `weights`."""
        return group_sums(self.counts, self.group, self.ngroups, weights)

    def other_groups(self) -> IndexArray:
        """(C - 1,) the groups that have an alpha to fit."""
        return np.delete(np.arange(self.ngroups), self.reference)


def fit_facts(
    counts: sparse.csr_matrix, seen: NDArray[np.bool_], ngroups: int, nsamples: int, nodes: int | None = None
) -> FitFacts:
    """Count what the plan of a fit of the features `seen` must know."""
    nnz, highest = np.zeros(seen.size, dtype=np.int64), np.zeros(seen.size, dtype=np.int64)
    for a, b in minibatches(counts.nnz, SORTED_COUNTS):
        nnz += np.bincount(counts.indices[a:b], minlength=seen.size)
        np.maximum.at(highest, counts.indices[a:b], counts.data[a:b])
    return FitFacts(
        ncells=counts.shape[0],
        nfeatures=int(seen.sum()),
        ngroups=ngroups,
        nsamples=nsamples,
        nnz=int(nnz[seen].sum()),
        npairs=int(np.minimum(nnz, highest)[seen].sum()),
        all_features=None if seen.all() else seen.size,
        nodes=nodes,
    )


def group_sums(
    counts: sparse.csr_matrix, group: IndexArray, ngroups: int, weights: FloatArray | None = None
) -> FloatArray:
    """(C, T) sums over each group's cells of (N, T) counts, weighted by (N,) `weights`."""
    ncells = group.size
    values = np.ones(ncells) if weights is None else weights
    indicator = sparse.csr_matrix((values, (group, np.arange(ncells))), shape=(ngroups, ncells))
    return np.asarray((indicator @ counts).toarray(), dtype=np.float64)


def counted_in_all_groups(
    counts: sparse.csr_matrix, group: IndexArray, group_names: Names, feature_names: Names
) -> NDArray[np.bool_]:
    """(T,) features with counts in every group; says how many have none in some.

    More than 10 % of the features left out are a warning, and so are more than 50 groups.

    Raises
    ------
    FitError
        If there is no such feature.
    """
    counted = group_sums(counts, group, group_names.size) > 0
    seen = np.asarray(counted.all(axis=0))
    if not seen.any():
        raise FitError(
            f"none of the {seen.size} features has counts in each of the {group_names.size} groups "
            f"({list_names(group_names, 5)}), {_smallest(group, group_names)}; "
            "give a coarser group_key= or other cells"
        )
    if group_names.size > MANY_GROUPS:
        _log.warning(
            "there are %d groups of %.1f cells in the mean, each with an alpha of its own in every feature: if that is "
            "not meant, give a coarser group_key=",
            group_names.size,
            group.size / group_names.size,
        )
    if not seen.all():
        lost = (
            f"{int((~seen).sum())} of {seen.size} features ({(~seen).mean():.1%}), {str(feature_names[~seen][0])!r} "
            "first, have no count in at least one of the groups: they are left out of the fit, and the stream gives "
            "zeros for them"
        )
        if (~seen).mean() > MUCH_LOST:
            _log.warning("%s; %s", lost, _why_lost(counted, group, group_names))
        else:
            announce([f"[INFO] {lost}"])
    return seen


def _why_lost(counted: NDArray[np.bool_], group: IndexArray, group_names: Names) -> str:
    """Name the group in which most features have no count, and what it may come from."""
    silent = (~counted).sum(axis=1)
    worst = int(silent.argmax())
    size = int(np.bincount(group)[worst])
    return (
        f"group {str(group_names[worst])!r} ({size} of {group.size} cells) lacks {int(silent[worst])} of them: the "
        f"likely reason is too many groups ({group_names.size}) or too small ones; give a coarser group_key= or leave "
        "that group out"
    )


def _smallest(group: IndexArray, group_names: Names) -> str:
    """Tell the size of the smallest group."""
    sizes = np.bincount(group, minlength=group_names.size)
    least = int(sizes.argmin())
    return f"the smallest of which, {str(group_names[least])!r}, has {int(sizes[least])} of {group.size} cells"


def reference_group(name: str | None, group: IndexArray, group_names: Names) -> int:
    """Return the number of the named group, or of the largest.

    Raises
    ------
    DataError
        If there is no such group; lists those there are.
    """
    if name is None:
        return int(np.bincount(group).argmax())
    found = np.flatnonzero(group_names == name)
    if not found.size:
        raise DataError(f"reference={name!r} is not a group; there are: {list_names(group_names)}")
    return int(found[0])
