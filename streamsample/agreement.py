"""Whether draws and cells fit together, as far as it can be told without reading any draw."""

from __future__ import annotations

import numpy as np

from streamsample.cells import Cells
from streamsample.errors import PosteriorError
from streamsample.parameters import Facts


def check_sizes(facts: Facts, cells: Cells) -> None:
    """Refuse empty axes, lengths that disagree, groups that are not there, and names that occur twice."""
    ncells = cells.size_factor.size
    sizes = {"samples": facts.nsamples, "cells": ncells, "features": facts.nfeatures, "groups": facts.ngroups}
    for axis, size in sizes.items():
        if size == 0:
            raise PosteriorError(f"the posterior has no {axis}: its sizes are {sizes}")
    _check_groups(facts, cells)
    _check_design(facts, cells)
    named = (
        ("cell_names", cells.names, ncells),
        ("feature_names", facts.feature_names, facts.nfeatures),
        ("group_names", facts.group_names, facts.ngroups),
        ("covariate_names", facts.covariate_names, facts.ncovariates),
        ("fitted", facts.fitted, facts.nfeatures),
    )
    for what, values, size in named:
        if values is not None and values.shape != (size,):
            raise PosteriorError(f"{what} has shape {values.shape}, it needs ({size},)")
    unique = ("feature", facts.feature_names), ("group", facts.group_names), ("covariate", facts.covariate_names)
    for axis, names in unique:
        values, counts = np.unique([] if names is None else names, return_counts=True)
        if (counts > 1).any():
            raise PosteriorError(
                f"{int((counts > 1).sum())} {axis} names occur twice, {str(values[counts > 1][0])!r} first; "
                "make them unique (AnnData: var_names_make_unique())"
            )


def _check_groups(facts: Facts, cells: Cells) -> None:
    """Refuse groups of another number of cells, or that there are no factors of."""
    ncells = cells.size_factor.size
    if cells.group.shape != (ncells,):
        raise PosteriorError(f"group has shape {cells.group.shape} but there are {ncells} size factors")
    wrong = (cells.group < 0) | (cells.group >= facts.ngroups)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise PosteriorError(
            f"group {int(cells.group[first])} of cell {first} is not in [0, {facts.ngroups}) ({int(wrong.sum())} such)"
        )


def _check_design(facts: Facts, cells: Cells) -> None:
    """Refuse a design without coefficients, coefficients without a design, and sizes of it that disagree."""
    needed = cells.size_factor.size, facts.ncovariates
    if cells.design is None:
        if facts.ncovariates:
            raise PosteriorError(
                f"beta has {facts.ncovariates} covariates but these cells have no design; give design=, "
                f"a matrix [N, K] of shape {needed}"
            )
        return
    if not facts.ncovariates:
        raise PosteriorError(
            f"a design of shape {cells.design.shape} is given but no beta [S, K, T]; give both or none"
        )
    if cells.design.shape != needed:
        raise PosteriorError(
            f"design has shape {cells.design.shape}; it needs {needed}: a row for each cell, a column for each "
            "covariate of beta"
        )
