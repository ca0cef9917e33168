"""A small AnnData, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from streamsample.cells import Origin
from streamsample.posterior import Posterior

FEATURES = ["STAT1", "CD86", "PDL1"]


@pytest.fixture
def data() -> anndata.AnnData:
    """12 cells; X is normalised, the counts are in layer "counts"."""
    counts = np.random.default_rng(0).poisson(2, (12, 3)) + 1
    total = counts.sum(axis=1)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["x"] * 6 + ["y"] * 6),
            "sum_factor": total / total.mean(),
            "score": np.linspace(-1, 1, 12),
            "donor": ["d1", "d2", "d3"] * 4,
            "barcode": [f"bc{n}" for n in range(12)],
        },
        index=[f"cell{n}" for n in range(12)],
    )
    normalised = sparse.csr_matrix(np.log1p(counts / total[:, None]))
    layers = {"counts": sparse.csr_matrix(counts.astype(np.float32)), "dense": counts.astype(np.float64) + 0.5}
    return anndata.AnnData(normalised, obs=obs, var=pd.DataFrame(index=FEATURES), layers=layers)


@pytest.fixture
def path(data: anndata.AnnData, tmp_path: Path) -> Path:
    data.write_h5ad(tmp_path / "data.h5ad")
    return tmp_path / "data.h5ad"


@pytest.fixture
def posterior() -> Posterior:
    """Fitted elsewhere, in other cells, at 10 counts for a size factor of 1; features in another order."""
    return Posterior.from_arrays(
        np.ones((2, 2)),
        np.ones((2, 2)),
        np.ones((2, 2, 2)),
        n_cells=5,
        feature_names=["PDL1", "STAT1"],
        group_names=["y", "x"],
        origin=Origin(10.0, ("batch",), "sum_factor", "counts"),
    )
