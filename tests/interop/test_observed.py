"""Observed counts in a tree: from the layer that the fit has used, checked, no more in memory than was asked for."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import sparse

import streamsample as ss
from streamsample.cells import Origin
from streamsample.errors import DataError
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.interop.conftest import FEATURES


def stream_of(data: anndata.AnnData, layer: str | None, **names: Any) -> CountStream:
    cells, features = listed(data)
    given = {"cell_names": cells, "feature_names": features} | names
    ones = np.ones((4, len(features)))
    return CountStream(Posterior.from_arrays(ones, ones, n_cells=len(cells), origin=Origin(layer=layer), **given))


def listed(data: anndata.AnnData) -> tuple[list[str], list[str]]:
    return [str(name) for name in data.obs_names], [str(name) for name in data.var_names]


def in_tree(counts: Any, observed: Any, **more: Any) -> NDArray[Any]:
    return np.asarray(counts.to_datatree(observed=observed, **more)["observed_data/counts"])


def test_counts_are_read_from_the_fits_layer(data: anndata.AnnData, path: Path, tmp_path: Path) -> None:
    stream, expected = stream_of(data, "counts"), data.layers["counts"].toarray()
    stored = ss.open(ss.sample(stream, tmp_path / "counts.h5"))
    for source in (data, path):
        np.testing.assert_array_equal(in_tree(stream, source), expected)
        np.testing.assert_array_equal(in_tree(stored, source, posterior=stream.posterior), expected)
        np.testing.assert_array_equal(in_tree(stored, source, layer="counts"), expected)
        with pytest.raises(DataError, match=r"X does not hold counts: .* counts are in 'counts': give layer='counts'"):
            stored.to_datatree(observed=source)
        with pytest.raises(DataError, match="layer 'dense' does not hold counts"):
            stream.to_datatree(observed=source, layer="dense")


def test_what_the_first_rows_do_not_show_is_found_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsample.interop.observed._LOOK_ELEMENTS", 6)
    values = np.ones((12, 3), dtype=np.float32)
    values[7, 1] = 0.5
    stream = CountStream(Posterior.from_arrays(np.ones((2, 3)), np.ones((2, 3)), n_cells=12))
    found = stream.to_datatree(observed=values)["observed_data/counts"]
    assert found.dtype == np.int32
    assert float(found[:, 0].sum()) == 12
    with pytest.raises(DataError, match=r"the first is 0.5 at \(n=7, t=1\)"):
        np.asarray(found)


def test_names_that_occur_twice_are_refused(data: anndata.AnnData) -> None:
    stream = stream_of(data, "counts")
    cells, features = listed(data)
    twice = data.copy()
    twice.obs_names = [*cells[:-1], "cell3"]
    with pytest.raises(DataError, match="1 cell names occur twice, 'cell3' first; make them unique"):
        stream.to_datatree(observed=twice[:, ::-1])
    twice = data.copy()
    twice.var_names = [*features[:-1], FEATURES[0]]
    with pytest.raises(DataError, match="1 feature names occur twice, 'STAT1' first; make them unique"):
        stream.to_datatree(observed=twice)
    with pytest.raises(DataError, match="the predictive counts: 1 cell names occur twice, 'cell3' first"):
        stream_of(data, "counts", cell_names=[*cells[:-1], "cell3"]).to_datatree(observed=data)


# -- no more in memory than asked

NCELLS, NFEATURES = 3000, 4000
KINDS = ("array", "csr", "csc", "dense file", "csr file", "csc file")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """12 M counts, 48 MB as float32, a tenth of them above zero, and files of them."""
    folder, rng = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    dense = np.zeros((NCELLS, NFEATURES), dtype=np.float32)
    dense.flat[rng.choice(dense.size, dense.size // 10)] = 3
    found: dict[str, Any] = {"array": dense, "csr": sparse.csr_matrix(dense), "csc": sparse.csc_matrix(dense)}
    for kind, values in zip(("dense", "csr", "csc"), list(found.values()), strict=True):
        found[f"{kind} file"] = folder / f"{kind}.h5ad"
        anndata.AnnData(values, var=pd.DataFrame(index=[f"g{t}" for t in range(NFEATURES)])).write_h5ad(
            found[f"{kind} file"]
        )
    with h5py.File(found["dense file"]) as file:
        assert file["X"].shape == dense.shape
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_one_gene_takes_no_matrix(kind: str, wide: dict[str, Any]) -> None:
    posterior = Posterior.from_arrays(np.ones((2, NFEATURES)), np.ones((2, NFEATURES)), n_cells=NCELLS)
    stream = CountStream(posterior)
    gene = stream.to_datatree(observed=wide[kind])["observed_data/counts"][::-1, 1234]
    tracemalloc.start()
    try:
        found = gene.values
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, wide["array"][::-1, 1234])
    assert peak < 30e6
    some = stream.to_datatree(observed=wide[kind])["observed_data/counts"][[7, 2, 2999], [3, 1234, 3]]
    np.testing.assert_array_equal(some, wide["array"][np.ix_([7, 2, 2999], [3, 1234, 3])])


def test_a_dense_matrix_is_read_in_blocks_of_rows(wide: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsample.interop.table._BLOCK_ELEMENTS", 7 * NFEATURES)
    stream = CountStream(
        Posterior.from_arrays(np.ones((2, NFEATURES)), np.ones((2, NFEATURES)), n_cells=NCELLS)
    ).select(cells=slice(10, 50))
    found = stream.to_datatree(observed=wide["array"][10:50])["observed_data/counts"]
    np.testing.assert_array_equal(found, wide["array"][10:50])
