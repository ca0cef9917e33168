"""The posterior-predictive picture."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from streamsample.errors import DataError, StoreError
from streamsample.report.ppc import MANY, Interval, Observed, coverage, plot_ppc

N, T, S = 60, 12, 40


@pytest.fixture
def counts() -> Any:
    rng = np.random.default_rng(1)
    return rng.poisson(rng.gamma(1.0, 2.0, T), (N, T))


@pytest.fixture
def summary(counts: Any) -> Any:
    """Draws around the observed values, as a summary of a stream has them."""
    rng = np.random.default_rng(2)
    mean = counts.mean(axis=0) * rng.normal(1.0, 0.1, (S, T))
    zeros = np.clip((counts == 0).mean(axis=0) + rng.normal(0.0, 0.05, (S, T)), 0, 1)
    return SimpleNamespace(mean=mean, zero_fraction=zeros, variance=mean)


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_observed_summarises_dense_and_sparse_counts_alike(counts: Any, make: Any) -> None:
    observed = Observed.of(make(counts))
    np.testing.assert_allclose(observed.mean, counts.mean(axis=0))
    np.testing.assert_allclose(observed.zero_fraction, (counts == 0).mean(axis=0))
    assert observed.ncells == N


def test_an_interval_holds_the_central_ninety_percent() -> None:
    draws = np.tile(np.arange(101.0)[:, np.newaxis], (1, 4))  # (S, T)
    interval = Interval.of(draws)
    np.testing.assert_allclose([interval.low[0], interval.middle[0], interval.high[0]], [5, 50, 95])
    assert interval.holds(np.array([4.9, 5.1, 94.9, 95.1])).tolist() == [False, True, True, False]


def test_the_picture_is_drawn_with_a_feature_that_has_no_counts(counts: Any, summary: Any, tmp_path: Path) -> None:
    counts[:, 3] = 0
    path = plot_ppc(Observed.of(counts), summary, tmp_path / "ppc.png")
    width, height = png_size(path)
    assert (width, height) == (1575, 750)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ppc.png"]


def test_unfitted_features_are_left_out_and_counted(counts: Any, summary: Any, tmp_path: Path) -> None:
    fitted = np.ones(T, dtype=bool)
    fitted[[2, 5]] = False
    text = plot_ppc(Observed.of(counts), summary, tmp_path / "ppc.svg", fitted=fitted).read_text()
    assert "10 features, 60 cells, 40 posterior samples; unfitted and left out: 2" in text


def test_many_features_are_one_bitmap_in_a_vector_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    few, many = 500, MANY + 1
    sizes = []
    for nfeatures in (few, many):
        counts = rng.poisson(rng.gamma(1.0, 2.0, nfeatures), (N, nfeatures))
        draws = counts.mean(axis=0) * rng.normal(1.0, 0.1, (S, nfeatures))
        summary: Any = SimpleNamespace(mean=draws, zero_fraction=np.clip(draws / 10, 0, 1), variance=draws)
        text = plot_ppc(Observed.of(counts), summary, tmp_path / f"{nfeatures}.svg").read_text()
        sizes.append(text.count("<path") + text.count("<use"))
        assert ("<image" in text) == (nfeatures == many)
    assert sizes[1] < sizes[0]


def test_the_panels_and_the_line_say_what_the_share_is_of(counts: Any, summary: Any, tmp_path: Path) -> None:
    text = plot_ppc(Observed.of(counts), summary, tmp_path / "ppc.svg").read_text()
    means = Interval.of(summary.mean).holds(counts.mean(axis=0)).mean()
    zeros = Interval.of(summary.zero_fraction).holds((counts == 0).mean(axis=0)).mean()
    assert f"Mean: {means:.0%} of features inside the predictive 90% interval" in text
    assert f"Zero fraction: {zeros:.0%} of features inside the predictive 90% interval" in text
    line = coverage(Observed.of(counts), summary)
    assert line == f"{means:.0%} of the means and {zeros:.0%} of the zero fractions inside the predictive 90%"


def test_pyplot_is_not_touched(counts: Any, summary: Any, tmp_path: Path) -> None:
    import matplotlib as mpl

    before = mpl.get_backend(auto_select=False)
    plot_ppc(Observed.of(counts), summary, tmp_path / "ppc.png")
    assert mpl.get_backend(auto_select=False) == before


def test_disagreeing_features_are_refused(counts: Any, summary: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="11 features are observed but 12 are predicted"):
        plot_ppc(Observed.of(counts[:, 1:]), summary, tmp_path / "ppc.png")


def test_nothing_fitted_is_refused(counts: Any, summary: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 12 features was fitted"):
        plot_ppc(Observed.of(counts), summary, tmp_path / "ppc.png", fitted=np.zeros(T, dtype=bool))


@pytest.mark.parametrize("name", ["ppc.docx", "missing/ppc.png"])
def test_a_picture_that_cannot_be_written_leaves_nothing(counts: Any, summary: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="ppc"):
        plot_ppc(Observed.of(counts), summary, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
