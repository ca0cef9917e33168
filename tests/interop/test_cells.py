"""Posterior.for_cells: the same parameters in the cells of an AnnData."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from streamsample.cells import Origin
from streamsample.errors import DataError, PosteriorError
from streamsample.posterior import Posterior


def joined_totals(data: anndata.AnnData) -> np.ndarray:
    """Over the posterior's features PDL1 and STAT1."""
    return data.layers["counts"].toarray()[:, [2, 0]].sum(axis=1)


def test_groups_names_and_numbering(posterior: Posterior, data: anndata.AnnData, path: Path) -> None:
    for source in (data, path, str(path)):
        found = posterior.for_cells(source)
        assert found.shape == (2, 12, 2)
        assert found.cells.group.tolist() == [1] * 6 + [0] * 6
        assert found.cells.names is not None
        assert found.cells.names.tolist() == list(data.obs_names)


def test_a_column_is_put_on_the_fits_scale(posterior: Posterior, data: anndata.AnnData) -> None:
    column, total = data.obs["sum_factor"].to_numpy(), joined_totals(data)
    expected = column * (total.sum() / column.sum()) / 10
    np.testing.assert_allclose(posterior.for_cells(data).cells.size_factor, expected)
    # The unit of a column is its own file's affair.
    data.obs["sum_factor"] *= 17
    np.testing.assert_allclose(posterior.for_cells(data).cells.size_factor, expected)


def test_without_the_column_totals_are_used(posterior: Posterior, data: anndata.AnnData) -> None:
    del data.obs["sum_factor"]
    np.testing.assert_allclose(posterior.for_cells(data).cells.size_factor, joined_totals(data) / 10)


def test_a_column_by_another_name(posterior: Posterior, data: anndata.AnnData) -> None:
    expected = posterior.for_cells(data).cells.size_factor
    data.obs["depth"] = data.obs.pop("sum_factor")
    found = posterior.for_cells(data, sum_factor_key="depth").cells.size_factor
    np.testing.assert_allclose(found, expected)
    with pytest.raises(DataError, match="no column 'size'; there are: batch, score, donor, barcode, depth"):
        posterior.for_cells(data, sum_factor_key="size")


def test_a_group_that_was_not_fitted_is_named(posterior: Posterior, data: anndata.AnnData) -> None:
    data.obs["batch"] = ["x"] * 11 + ["z"]
    with pytest.raises(PosteriorError, match=r"group 'z' was not fitted \(1 such\); fitted are: x, y"):
        posterior.for_cells(data)


def test_groups_of_several_columns(posterior: Posterior, data: anndata.AnnData) -> None:
    source = replace(posterior.source, group_names=np.array(["x|d1", "x|d2"]))
    part = replace(posterior, source=source)
    chosen = data[[0, 1, 3, 4]]
    assert part.for_cells(chosen, group_key=["batch", "donor"]).cells.group.tolist() == [0, 1, 0, 1]


def test_a_missing_feature_is_named(posterior: Posterior, data: anndata.AnnData) -> None:
    with pytest.raises(DataError, match=r"lacks 1 of 2 features, 'PDL1' first"):
        posterior.for_cells(data[:, :2])


def test_a_missing_group_column_or_value(posterior: Posterior, data: anndata.AnnData) -> None:
    with pytest.raises(DataError, match="no column 'plate'"):
        posterior.for_cells(data, group_key="plate")
    data.obs["batch"] = data.obs["batch"].astype(object).where(np.arange(12) != 4)
    with pytest.raises(DataError, match=r"1 of 12 cells have no value in column 'batch', 'cell4' first"):
        posterior.for_cells(data)


def test_the_advice_about_missing_values_works(data: anndata.AnnData) -> None:
    from streamsample.interop.labels import choose_cells

    data.obs["my batch"] = data.obs["batch"].astype(object).where(np.arange(12) != 4)
    chosen = choose_cells(data.obs, "`my batch`.notna()", "data")
    assert chosen.tolist() == [n != 4 for n in range(12)]


def test_a_posterior_that_does_not_say_its_scale(
    posterior: Posterior, data: anndata.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    silent = replace(posterior, origin=Origin(layer="counts", group_key=("batch",)))
    with pytest.raises(PosteriorError, match="does not say what total a size factor of 1 stands for"):
        silent.for_cells(data)
    found = silent.for_cells(data, sum_factor_key="sum_factor")
    np.testing.assert_array_equal(found.cells.size_factor, data.obs["sum_factor"])
    assert "taken as they are" in caplog.text


def test_a_posterior_that_does_not_say_its_groups(posterior: Posterior, data: anndata.AnnData) -> None:
    silent = replace(posterior, origin=Origin(10.0, layer="counts"))
    with pytest.raises(PosteriorError, match="has 2 groups and does not say which column"):
        silent.for_cells(data)
    alone = Posterior.from_arrays(
        np.ones((1, 2)), np.ones((1, 2)), n_cells=1, feature_names=["PDL1", "STAT1"], origin=silent.origin
    )
    assert alone.for_cells(data).cells.group.tolist() == [0] * 12


def test_the_note_says_what_follows(
    posterior: Posterior, data: anndata.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streamsample")
    found, column = posterior.for_cells(data), data.obs["sum_factor"].to_numpy()
    theirs, ratio = joined_totals(data).sum() / column.sum(), (found.cells.size_factor / column)[0]
    assert (
        f"a size factor of 1 stands for a total of {theirs:.4g} there and 10 in the fit: its size factors are "
        f"multiplied by {ratio:.3g}"
    ) in caplog.text


def test_a_file_with_its_counts_in_x(
    posterior: Posterior, data: anndata.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streamsample")
    expected = posterior.for_cells(data).cells.size_factor
    assert "X is taken" not in caplog.text
    raw = anndata.AnnData(data.layers["counts"], obs=data.obs, var=data.var)
    np.testing.assert_array_equal(posterior.for_cells(raw).cells.size_factor, expected)
    assert "no layer 'counts', which the fit has used, and X holds counts: X is taken" in caplog.text


def test_a_given_layer_wins(posterior: Posterior, data: anndata.AnnData) -> None:
    data.obs.pop("sum_factor")
    data.layers["raw"] = 2 * data.layers["counts"]
    found = posterior.for_cells(data, layer="raw").cells.size_factor
    np.testing.assert_allclose(found, 2 * joined_totals(data) / 10)
    with pytest.raises(DataError, match="X does not hold counts"):
        posterior.for_cells(data, layer="X")
    with pytest.raises(DataError, match="no layer 'none'; give layer= one of those there: X, counts"):
        posterior.for_cells(data, layer="none")


def test_x_without_counts_does_not_stand_in(posterior: Posterior, data: anndata.AnnData) -> None:
    data.layers["raw"] = data.layers.pop("counts")
    with pytest.raises(DataError, match="no layer 'counts'; give layer= one of those there: X, dense, raw"):
        posterior.for_cells(data)


def test_size_factors_given_as_numbers(posterior: Posterior) -> None:
    found = posterior.for_cells([0.5, 2.0], ["y", "x"], ["a", "b"])
    assert found.cells.group.tolist() == [0, 1]
    assert found.cells.size_factor.tolist() == [0.5, 2.0]


def test_a_file_that_is_not_there(posterior: Posterior, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        posterior.for_cells(tmp_path / "none.h5ad")
