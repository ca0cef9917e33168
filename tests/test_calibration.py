"""Calibration is told from its absence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from streamsample.cli import app
from streamsample.errors import DataError, StoreError
from streamsample.posterior import Posterior
from streamsample.report import calibration as module
from streamsample.report.calibration import BINS, calibrate, plot_calibration
from streamsample.stream import CountStream

S, N, T = 60, 400, 30


def posterior(factor: float = 1.0, phi: float = 2.0) -> Posterior:
    """Means from 0.05 to 500, the same in all samples."""
    mu = np.tile(np.geomspace(0.05, 500, T), (S, 1)) * factor
    return Posterior.from_arrays(mu, np.full((S, T), phi), n_cells=N)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """What a stream of another seed makes."""
    return CountStream(posterior(), seed=99)[0].astype(np.int64)


def test_counts_of_the_same_law_are_uniform(counts: np.ndarray) -> None:
    # 12,000 counts: a chi-squared of 19 degrees of freedom is above 43.8 once in a thousand seeds; this one is fixed.
    found = calibrate(CountStream(posterior(), seed=1), counts)
    assert found.ncounts == N * T
    expected = N * T / BINS
    assert ((found.histogram.sum(axis=0) - expected) ** 2 / expected).sum() < 43.8
    assert found.coverage == pytest.approx(0.9, abs=0.01)
    assert found.coverage_by_mean() == pytest.approx(np.full(5, 0.9), abs=0.03)
    assert found.line().startswith(f"predictive 90% intervals hold {found.coverage:.1%} of 12,000 observed counts; ")


@pytest.mark.parametrize(("factor", "phi", "side"), [(0.5, 2.0, -1), (4.0, 2.0, 0), (1.0, 20.0, -1)])
def test_counts_of_another_law_are_not(counts: np.ndarray, factor: float, phi: float, side: int) -> None:
    found = calibrate(CountStream(posterior(factor, phi), seed=1), counts)
    assert found.coverage < 0.87
    assert found.histogram.sum(axis=0)[side] > 1.5 * N * T / BINS


def test_blocks_and_sparse_counts_change_nothing(counts: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = CountStream(posterior(), seed=1)
    whole = calibrate(stream, counts)
    monkeypatch.setattr(module, "_BLOCK", 700)
    done: list[tuple[int, int]] = []
    parts = calibrate(stream, csr_matrix(counts), progress=lambda *now: done.append(now))
    np.testing.assert_array_equal(whole.histogram, parts.histogram)
    assert len(done) > 10
    assert done[-1] == (N, N)


def test_features_are_classed_by_their_mean_and_unfitted_ones_left_out(counts: np.ndarray) -> None:
    fitted = np.arange(T) % 3 != 0
    found = calibrate(CountStream(posterior(), seed=1), counts, fitted=fitted)
    means = counts[:, fitted].mean(axis=0)
    expected = [
        int(((means >= a) & (means < b)).sum()) * N for a, b in zip(module.CLASSES, module.CLASSES[1:], strict=False)
    ]
    assert found.histogram.sum(axis=1).tolist() == expected


def test_what_can_not_be_compared_is_refused(counts: np.ndarray) -> None:
    stream = CountStream(posterior(), seed=1)
    with pytest.raises(DataError, match=r"observed counts are \(400, 29\) but the stream has 400 cells x 30 features"):
        calibrate(stream, counts[:, 1:])
    with pytest.raises(DataError, match="18 samples can't tell the ends of 90% intervals; give at least 19"):
        calibrate(stream.select(samples=slice(0, 18)), counts)
    with pytest.raises(DataError, match="none of the 30 features was fitted"):
        calibrate(stream, counts, fitted=np.zeros(T, dtype=bool))


def test_the_command(counts: np.ndarray, tmp_path: Path) -> None:
    cells = AnnData(csr_matrix(counts[:100].astype(np.int32)))
    cells.var_names, cells.obs_names = [f"gene_{t}" for t in range(T)], [f"cell_{n}" for n in range(100)]
    cells.write_h5ad(tmp_path / "counts.h5ad")
    block = posterior().read(np.arange(S))
    names = {"cell_names": list(cells.obs_names), "feature_names": list(cells.var_names)}
    Posterior.from_arrays(block.mu, block.phi, n_cells=100, **names).save(tmp_path / "posterior.h5")
    arguments = [str(tmp_path / name) for name in ("posterior.h5", "counts.h5ad")]
    ended = CliRunner().invoke(app, ["ppc", *arguments, "-o", str(tmp_path / "ranks.png"), "--ranks"])
    assert ended.exit_code == 0, ended.output
    assert "ranks.png: predictive 90% intervals hold 9" in ended.output
    assert "of 3,000 observed counts" in ended.output
    assert (tmp_path / "ranks.png").stat().st_size > 10_000


def test_the_picture(counts: np.ndarray, tmp_path: Path) -> None:
    found = calibrate(CountStream(posterior(), seed=1), counts[:, :], fitted=np.arange(T) < 10)  # a class is empty
    assert np.isnan(found.coverage_by_mean()).any()
    path = plot_calibration(found, tmp_path / "calibration.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(StoreError, match="can't be drawn"):
        plot_calibration(found, tmp_path / "calibration.abc")
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.png"]
