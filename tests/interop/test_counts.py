"""Counts are counts, wherever they come from."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from streamsample.errors import DataError
from streamsample.interop import table as table_module
from streamsample.interop.counts import as_counts, observed, read_counts, totals
from streamsample.interop.table import open_table
from streamsample.posterior import Posterior

COUNTS = np.array([[0, 3, 1], [2, 0, 70000]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array])
def test_any_number_type_and_format(dtype: type, form: type) -> None:
    counts = COUNTS % 200 if dtype in (np.uint8, np.int16) else COUNTS
    found = as_counts(form(counts.astype(dtype)), "counts")
    assert found.dtype == np.int32
    assert np.array_equal(found.toarray(), counts)


def test_explicit_zeros_and_duplicates_of_sparse_formats() -> None:
    matrix = sparse.csr_matrix((np.array([1.0, 2.0, 0.0]), np.array([1, 1, 2]), np.array([0, 3])), shape=(1, 3))
    found = as_counts(matrix, "counts")
    assert found.nnz == 1
    assert found.toarray().tolist() == [[0, 3, 0]]


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 2.0**31])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_what_is_no_count(value: float, form: type) -> None:
    counts = COUNTS.astype(np.float64)
    counts[1, 2] = value
    with pytest.raises(DataError, match=r"does not hold counts: 1 values .* at \(n=1, t=2\); give raw counts"):
        as_counts(form(counts), "counts")


def test_negative_integers_and_text() -> None:
    with pytest.raises(DataError, match=r"the first is -3 at \(n=0, t=1\)"):
        as_counts(-COUNTS, "counts")
    with pytest.raises(DataError, match="not numbers"):
        as_counts(np.array([["1", "2"]]), "counts")
    with pytest.raises(DataError, match="cells x features"):
        as_counts(np.arange(3), "counts")


@pytest.mark.parametrize("nelements", [3, 15, 10**6])
def test_a_selection(path: Path, data: anndata.AnnData, nelements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "_BLOCK_ELEMENTS", nelements)
    mask = np.arange(12) % 5 == 1
    with open_table(path) as table:
        found = read_counts(table, "counts", mask, np.array([2, 0]))
        assert np.array_equal(found.toarray(), data.layers["counts"].toarray()[mask][:, [2, 0]])
        sums = totals(table, "counts", np.array([2, 0]))
        assert np.array_equal(sums, data.layers["counts"].toarray()[:, [2, 0]].sum(axis=1))


def test_the_layer_with_counts_is_named(path: Path) -> None:
    with open_table(path) as table:
        for layer, called in ((None, "X"), ("dense", "layer 'dense'")):
            with pytest.raises(DataError, match=rf"{called} does not .*; counts are in 'counts': give layer='counts'"):
                read_counts(table, layer)


def test_no_layer_with_counts_and_the_files_own_numbers(data: anndata.AnnData) -> None:
    values = np.ones((12, 3))
    values[9, 2] = np.nan
    bad = anndata.AnnData(values, obs=data.obs, var=data.var)
    with open_table(bad) as table:
        message = r"the first is nan at \(n=9, t=2\); no layer of it holds counts"
        with pytest.raises(DataError, match=message):
            read_counts(table, None, np.arange(12) > 3, np.array([2, 1]))
        with pytest.raises(DataError, match=message):
            totals(table, None)


def of_cells(names: list[str] | None, features: list[str] | None, n_cells: int, nfeatures: int) -> Posterior:
    draws = np.ones((1, nfeatures))
    return Posterior.from_arrays(draws, draws, n_cells=n_cells, cell_names=names, feature_names=features)


def test_observed_counts_are_joined_by_name(path: Path, data: anndata.AnnData) -> None:
    wanted = ["cell7", "cell0", "cell7"]
    found = observed(of_cells(wanted, ["PDL1", "STAT1"], 3, 2), path, layer="counts")
    assert np.array_equal(found.toarray(), data.layers["counts"].toarray()[[7, 0, 7]][:, [2, 0]])


def test_observed_counts_are_in_the_fits_layer_or_in_x(
    posterior: Posterior, data: anndata.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streamsample")
    named = posterior.for_cells(data)
    expected = data.layers["counts"].toarray()[:, [2, 0]]
    assert np.array_equal(observed(named, data).toarray(), expected)
    caplog.clear()
    raw = anndata.AnnData(data.layers["counts"], obs=data.obs, var=data.var)
    assert np.array_equal(observed(named, raw).toarray(), expected)
    assert "X is taken" in caplog.text
    with pytest.raises(DataError, match="X does not hold counts"):
        observed(named, data, layer="X")


def test_observed_without_names_is_the_whole_file(path: Path, data: anndata.AnnData) -> None:
    found = observed(of_cells(None, None, 12, 3), path, layer="counts")
    assert np.array_equal(found.toarray(), data.layers["counts"].toarray())


@pytest.mark.parametrize(
    ("posterior", "message"),
    [
        (of_cells(["cell0", "x", "y"], None, 3, 3), "lacks 2 of 3 cells, 'x' first"),
        (of_cells(None, None, 5, 3), "has 12 cells but the posterior has 5"),
        (of_cells(None, None, 12, 4), "has 3 features but the posterior has 4"),
        (of_cells(None, ["STAT1", "TP53"], 12, 2), "lacks 1 of 2 features, 'TP53' first"),
    ],
)
def test_observed_counts_that_are_not_there(posterior: Posterior, message: str, path: Path) -> None:
    with pytest.raises(DataError, match=message):
        observed(posterior, path, layer="counts")
