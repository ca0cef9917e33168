"""Some samples of counts as an AnnData: one sparse layer each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.counts import Counts
from streamsample.geometry import resolve
from streamsample.stream import CountStream

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from streamsample.designs import Design
    from streamsample.parameters import Names

DENSE_NBYTES = 64 * 2**20  # of the rows that are looked at together


def to_anndata(counts: Counts, samples: Any) -> AnnData:
    """Copy some samples into an AnnData; see `Counts.to_anndata`."""
    import pandas as pd
    from anndata import AnnData

    _, ncells, nfeatures = counts.shape
    cells, features = counts.names
    obs, obsm = pd.DataFrame(index=_index(cells, counts.selection.cells)), {}
    if isinstance(counts, CountStream):
        of, chosen, names = counts.posterior.cells, counts.selection.cells, counts.posterior.facts.group_names
        group = of.group[chosen]
        obs["size_factor"] = of.size_factor[chosen]
        if of.design is not None:
            obsm["design"] = _frame(of.design.take(chosen), obs.index, counts.posterior.facts.covariate_names)
        obs["group"] = pd.Categorical((np.arange(group.max() + 1).astype(str) if names is None else names)[group])
    var = pd.DataFrame(index=_index(features, counts.selection.features))
    positions = resolve(samples, len(counts), "sample")
    layers = {f"ppc_{counts.selection.samples[s]}": _sparse(counts, int(s)) for s in positions}
    return AnnData(obs=obs, var=var, obsm=obsm, layers=layers, shape=None if layers else (ncells, nfeatures))


def _frame(design: Design, cells: pd.Index[str], names: Names | None) -> Any:
    """Write a design as a DataFrame where its columns have names, sparse ones and others as a matrix."""
    from pandas import DataFrame
    from scipy.sparse import csr_matrix

    if design.dense is None:
        indptr, indices, data = design.rows()
        return csr_matrix((data, indices, indptr), shape=design.shape)
    return design.dense if names is None else DataFrame(design.dense, index=cells, columns=names.tolist())


def _index(names: Any, positions: Any) -> list[str]:
    """Names of an axis, or its indices into the posterior as text."""
    return [str(name) for name in (positions if names is None else names)]


def _sparse(counts: Counts, s: int) -> csr_matrix:
    """(N, T) counts of one sample, some rows at a time."""
    from scipy.sparse import csr_matrix, vstack

    _, ncells, nfeatures = counts.shape
    step = max(4, DENSE_NBYTES // max(1, nfeatures * counts.dtype.itemsize))
    rows = [csr_matrix(counts[s, n0 : n0 + step]) for n0 in range(0, ncells, step)]
    return vstack(rows, format="csr", dtype=counts.dtype)
