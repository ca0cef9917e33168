"""Other cells for the same parameters, described by an AnnData."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.cells import Cells, make_cells, number_groups
from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.interop.counts import feature_columns, layer_like_the_fits, totals
from streamsample.interop.covariates import covariates
from streamsample.interop.labels import column, group_labels, keys, sum_factors
from streamsample.interop.table import Table, open_table
from streamsample.parameters import FloatArray

if TYPE_CHECKING:
    from anndata import AnnData

    from streamsample.posterior import Posterior

_log = logging.getLogger(__name__)


def read_cells(
    posterior: Posterior,
    source: str | os.PathLike[str] | AnnData,
    group_key: str | Sequence[str] | None = None,
    sum_factor_key: str | None = None,
    layer: str | None = None,
    design: Any = None,
) -> Cells:
    """Describe all cells of an AnnData as a posterior's fit has described its own.

    Totals are taken over the posterior's features, joined by name. A column of size factors is
    relative to its own file's depth, so it is put on the fit's scale: ``column * (their total a unit / the fit's)``.

    Parameters
    ----------
    posterior
        Whose parameters will be applied.
    source
        AnnData object, or path of an ``.h5ad`` file.
    group_key
        Columns of ``obs`` that name the groups; the fit's if left out.
    sum_factor_key
        Column of ``obs`` with size factors. If left out it is the fit's, or the totals where that one is not there.
    layer
        Layer that holds the counts. If left out it is the fit's, or ``X`` if that one is not there and ``X`` holds
        counts.
    design
        Where the posterior has coefficients: covariates of the cells; see `covariates`.

    Raises
    ------
    DataError
        If a column, a feature or the layer is not there, or it holds no counts.
    PosteriorError
        If a group was not fitted, or the posterior does not say what a size factor of 1 stands for.
    """
    with open_table(source) as table:
        factors = _size_factors(posterior, table, sum_factor_key, layer)
        matrix = covariates(table, posterior.facts, design)
        return make_cells(factors, _groups(posterior, table, group_key), None, table.cells, matrix)


def _groups(posterior: Posterior, table: Table, group_key: str | Sequence[str] | None) -> IndexArray:
    """(N,) number of each cell's group."""
    names = posterior.origin.group_key if group_key is None else keys(group_key)
    if names:
        return number_groups(group_labels(table.obs, names, table.label), posterior.facts.group_names)
    if posterior.facts.ngroups > 1:
        raise PosteriorError(
            f"the posterior has {posterior.facts.ngroups} groups and does not say which column of obs names them; "
            "give group_key="
        )
    return np.zeros(table.shape[0], dtype=np.int64)


def _size_factors(posterior: Posterior, table: Table, key: str | None, layer: str | None) -> FloatArray:
    """(N,) size factors on the fit's scale."""
    scale, factors = posterior.origin.size_factor_scale, _column(posterior, table, key)
    if scale is None:
        if factors is None:
            raise PosteriorError(
                "the posterior does not say what total a size factor of 1 stands for (attribute size_factor_scale); "
                "give sum_factor_key= or size factors"
            )
        _log.warning(
            "the posterior has no size_factor_scale: the size factors of %s are taken as they are", table.label
        )
        return factors
    features = feature_columns(table, posterior.facts.feature_names, posterior.facts.nfeatures)
    total = totals(table, layer_like_the_fits(table, posterior, layer), features)
    if factors is None:
        _log.info(
            "%s: size factors are totals over the posterior's features, divided by %.4g, the total that a size factor "
            "of 1 stands for in the fit",
            table.label,
            scale,
        )
        return total / scale
    theirs = float(total.sum() / factors.sum())
    _log.info(
        "%s: a size factor of 1 stands for a total of %.4g there and %.4g in the fit: its size factors are multiplied "
        "by %.3g",
        table.label,
        theirs,
        scale,
        theirs / scale,
    )
    return factors * (theirs / scale)


def _column(posterior: Posterior, table: Table, key: str | None) -> FloatArray | None:
    """(N,) size factors of the column that was asked for, or of the fit's if it is there, else None."""
    if key is None:
        key = posterior.origin.sum_factor_key
        if key not in table.obs.columns:
            return None
    return sum_factors(column(table.obs, str(key), table.label), str(key), table.label)
