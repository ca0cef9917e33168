"""The cells of a posterior that was fitted elsewhere, described by an AnnData."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamsample.cells import Cells, Origin, make_cells, number_groups
from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.interop.counts import feature_columns, totals
from streamsample.interop.covariates import covariates
from streamsample.interop.labels import column, group_labels, keys, number_labels, sum_factors
from streamsample.interop.table import Table, open_table
from streamsample.parameters import Facts, FloatArray, Names, list_names

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger(__name__)

SUM_FACTOR_KEY = "sum_factor"
"""Column of size factors that is taken without being asked for, as in the fit."""


@dataclass(frozen=True)
class Described:
    """Cells, and what the table that describes them knows of the draws' axes."""

    cells: Cells
    origin: Origin
    """How they are described, so that other cells can be described alike."""
    feature_names: Names | None
    """(T,) or None."""
    group_names: Names | None
    """(C,) or None."""


def describe_cells(
    source: str | os.PathLike[str] | AnnData,
    facts: Facts,
    *,
    group_key: str | Sequence[str] | None = None,
    sum_factor_key: str | None = None,
    layer: str | None = None,
    design: str | Sequence[str] | None = None,
) -> Described:
    """Describe all cells of an AnnData for draws of given sizes.

    Parameters
    ----------
    source
        AnnData object, or path of an ``.h5ad`` file.
    facts
        Sizes and names of the draws. Features are joined by name, else by position; groups without names are numbered
        in the order of the sorted labels, which is said.
    group_key
        Columns of ``obs`` that name the groups; needed if there are several.
    sum_factor_key
        Column of ``obs`` with size factors; ``sum_factor`` if that is there, else the totals over their mean.
    layer
        Layer that holds the counts; ``X`` if left out.
    design
        A matrix of ``obsm`` or columns of ``obs`` with the covariates; see `covariates`.

    Raises
    ------
    DataError
        If a column, a feature or the layer is not there, or it holds no counts.
    PosteriorError
        If groups or features do not agree with the draws.
    """
    names = facts.feature_names
    with open_table(source) as table:
        if names is None and table.features.size != facts.nfeatures:
            raise PosteriorError(
                f"the draws are of {facts.nfeatures} features without names, {table.label} has {table.features.size}; "
                "give a file with the features that were fitted, in their order"
            )
        total = totals(table, layer, feature_columns(table, names, facts.nfeatures))
        factors, key = _size_factors(table, total, sum_factor_key)
        group, group_names = _groups(table, facts.ngroups, facts.group_names, group_key)
        return Described(
            make_cells(factors, group, None, table.cells, covariates(table, facts, design)),
            Origin(float(total.sum() / factors.sum()), keys(group_key or ()), key, layer),
            table.features if names is None else names,
            group_names,
        )


def _size_factors(table: Table, total: FloatArray, key: str | None) -> tuple[FloatArray, str | None]:
    """(N,) size factors, and the column they are from."""
    if key is None and SUM_FACTOR_KEY not in table.obs.columns:
        _log.info("%s: size factors are total counts over their mean, %.4g", table.label, total.mean())
        return total / total.mean(), None
    chosen = key or SUM_FACTOR_KEY
    return sum_factors(column(table.obs, chosen, table.label), chosen, table.label), chosen


def _groups(
    table: Table, ngroups: int, names: Names | None, group_key: str | Sequence[str] | None
) -> tuple[IndexArray, Names | None]:
    """(N,) numbers of the groups, and their names."""
    if group_key is None:
        if ngroups > 1:
            raise PosteriorError(f"the draws have {ngroups} groups; give group_key= the column of obs that names them")
        return np.zeros(table.shape[0], dtype=np.int64), names
    labels = group_labels(table.obs, keys(group_key), table.label)
    if names is not None:
        return number_groups(labels, names), names
    numbers, found = number_labels(labels)
    if found.size != ngroups:
        raise PosteriorError(
            f"{table.label} has {found.size} groups by {', '.join(keys(group_key))} ({list_names(found)}), the draws "
            f"have {ngroups}; give the cells that were fitted"
        )
    _log.info("groups without names are taken in sorted order: %s", list_names(f"{c} {g}" for c, g in enumerate(found)))
    return numbers, found
