"""Real counts: the shipped cells, and, where the larger file is at hand, all cells of the same screen."""

from __future__ import annotations

import os
from pathlib import Path

import anndata
import numpy as np
import pytest

from streamsample.fit import TechnicalModel
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from streamsample.summary import summarise

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def posterior(ntc_h5ad: Path) -> Posterior:
    return TechnicalModel.from_anndata(ntc_h5ad, "bio_rep").fit_technical(nsamples=100)


def large_file() -> Path:
    folder = Path(os.environ.get("STREAMSAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "papalexi2021.h5ad").exists():
        pytest.skip(f"no papalexi2021.h5ad in {folder}: set STREAMSAMPLE_DATA to the folder that has it")
    return folder / "papalexi2021.h5ad"


def zero_fraction(posterior: Posterior) -> np.ndarray:
    """(S, T) expected fraction of cells without a count: the mean over cells of P(Y = 0)."""
    block, cells = posterior.read(np.arange(10)), posterior.cells
    zeros = np.zeros(block.mu.shape)
    for c in range(posterior.facts.ngroups):
        for factor in cells.size_factor[cells.group == c]:
            mean = block.mu * block.alpha[:, c] * factor
            zeros += np.exp(-block.phi * np.log1p(mean / block.phi))
    return zeros / cells.group.size


def test_the_demos_cells(posterior: Posterior, ntc_h5ad: Path) -> None:
    assert posterior.shape == (100, 2386, 299)
    assert int((~posterior.fitted).sum()) == 1
    counts = anndata.read_h5ad(ntc_h5ad).X
    observed = 1 - np.asarray((counts > 0).mean(axis=0)).ravel()
    predicted = zero_fraction(posterior).mean(axis=0)
    difference = np.abs(predicted - observed)[posterior.fitted]
    assert difference.mean() < 0.01
    assert difference.max() < 0.06
    assert np.corrcoef(predicted[posterior.fitted], observed[posterior.fitted])[0, 1] > 0.998


def test_all_cells_of_the_screen(posterior: Posterior) -> None:
    path = large_file()
    everyone = posterior.for_cells(path)
    assert everyone.shape == (100, 20729, 299)
    data = anndata.read_h5ad(path)
    # The two files have size factors relative to their own mean totals; a cell in both has one depth.
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    assert posterior.origin.size_factor_scale is not None
    np.testing.assert_allclose(everyone.cells.size_factor, totals / posterior.origin.size_factor_scale)
    assert everyone.cells.names is not None
    assert posterior.cells.names is not None
    where = {name: n for n, name in enumerate(everyone.cells.names)}
    rows = [where[name] for name in posterior.cells.names]
    np.testing.assert_allclose(everyone.cells.size_factor[rows], posterior.cells.size_factor)
    assert np.array_equal(everyone.cells.group[rows], posterior.cells.group)
    assert everyone.digest() != posterior.digest()


def test_counts_of_all_cells_follow_the_observed_ones(posterior: Posterior) -> None:
    path = large_file()
    stream = CountStream(posterior.for_cells(path), seed=1).select(samples=slice(0, 20))
    summary = summarise(stream)  # 124 million counts, none of them stored
    observed = anndata.read_h5ad(path).X
    mean = np.asarray(observed.mean(axis=0)).ravel()
    zeros = 1 - np.asarray((observed > 0).mean(axis=0)).ravel()
    # Perturbed cells differ from the fitted, non-targeting ones in the genes that the perturbations hit;
    # all others, and so the correlations, must follow.
    fitted = posterior.fitted & (mean > 0.01)
    assert np.corrcoef(np.log(summary.mean.mean(axis=0)[fitted]), np.log(mean[fitted]))[0, 1] > 0.98
    assert np.corrcoef(summary.zero_fraction.mean(axis=0)[fitted], zeros[fitted])[0, 1] > 0.99
    assert np.median(np.abs(summary.zero_fraction.mean(axis=0) - zeros)[fitted]) < 0.02
