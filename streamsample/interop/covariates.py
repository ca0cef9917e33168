"""The design of an AnnData's cells: a matrix of ``obsm``, or columns of ``obs``."""

from __future__ import annotations

from typing import Any

from streamsample.designs import Design
from streamsample.errors import DataError
from streamsample.interop.labels import column, columns_there
from streamsample.interop.table import Table
from streamsample.parameters import Facts


def covariates(table: Table, facts: Facts, design: Any) -> Design | None:
    """Take a design, its columns in the order of the draws' covariates where both have names.

    Parameters
    ----------
    table
        The cells.
    facts
        Of the draws.
    design
        (N, K) values; the name of a matrix in ``obsm``; or names of columns of ``obs``. If left out, the columns of
        ``obs`` that have the covariates' names, where all of them are there.

    Raises
    ------
    DataError
        If there is no such matrix or column.
    PosteriorError
        If it is no matrix of finite numbers, or a covariate is not among its columns.
    """
    names = facts.covariate_names
    if design is None:
        if names is None or not all(name in table.obs.columns for name in names):
            return None
        design = list(names)
    found = Design.of(_values(table, design))
    return found if names is None else found.named(names)


def _values(table: Table, design: Any) -> Any:
    """What a name, or a list of names, stands for."""
    if isinstance(design, list | tuple) and len(design) == 1 and isinstance(design[0], str):
        design = design[0]
    if isinstance(design, str):
        if design in table.obsm:
            return table.obsm[design]()
        if design not in table.obs.columns:
            raise DataError(
                f"{table.label}: neither obsm nor obs has {design!r}; obsm has: {', '.join(table.obsm) or 'nothing'}; "
                f"obs has: {columns_there(table.obs)}"
            )
        design = [design]
    if isinstance(design, list | tuple) and design and all(isinstance(name, str) for name in design):
        for name in design:
            column(table.obs, name, table.label)
        return table.obs[list(design)]
    return design
