"""The counts that a fit sees, and the sums over cells that describe them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from streamsample.errors import DataError, FitError
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray, Names
from streamsample.report.memory import announce


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

    def group_sums(self, weights: FloatArray | None = None) -> FloatArray:
        """(C, T) sums over each group's cells of the counts, weighted by (N,) `weights`."""
        return group_sums(self.counts, self.group, self.ngroups, weights)

    def other_groups(self) -> IndexArray:
        """(C - 1,) the groups that have an alpha to fit."""
        return np.delete(np.arange(self.ngroups), self.reference)


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

    Raises
    ------
    FitError
        If there is no such feature.
    """
    seen = np.asarray((group_sums(counts, group, group_names.size) > 0).all(axis=0))
    if not seen.any():
        raise FitError(
            f"none of the {seen.size} features has counts in each of the {group_names.size} groups "
            f"({', '.join(group_names[:5])}); choose a coarser group_key, or other cells"
        )
    if not seen.all():
        announce(
            [
                f"[INFO] {int((~seen).sum())} of {seen.size} features, {str(feature_names[~seen][0])!r} first, have no "
                "count in at least one of the groups: they are left out of the fit, and the stream gives zeros for them"
            ]
        )
    return seen


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
        raise DataError(f"reference {name!r} is not a group; there are: {', '.join(group_names)}")
    return int(found[0])
