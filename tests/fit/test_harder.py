"""Harder real counts: plates of deeply sequenced cells, and bulk samples with means of thousands.

Each file is fitted without every fifth cell, and the counts of these are what the calibration looks at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
import pyro.distributions
import pytest
import torch

from streamsample.fit import TechnicalModel, plan
from streamsample.fit.convergence import FitReport
from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.observations import Observations
from streamsample.fit.start import start_at
from streamsample.interop.counts import observed
from streamsample.posterior import Posterior
from streamsample.report.calibration import calibrate, plot_calibration
from streamsample.stream import CountStream

ROOT = Path(__file__).parents[2]
GROUPS = {"papalexi2021_ntc": "bio_rep", "sc_mixology": "plate", "yeast48": "condition"}
CELLS_OF_A_STEP = {"sc_mixology": 300, "yeast48": 40}


@dataclass(frozen=True)
class HeldOut:
    """A fit without some cells, and these cells."""

    cells: anndata.AnnData
    posterior: Posterior
    report: FitReport


def data(name: str) -> anndata.AnnData:
    folder = Path(os.environ.get("STREAMSAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / f"{name}.h5ad").exists():
        pytest.skip(f"no {name}.h5ad in {folder}: set STREAMSAMPLE_DATA to the folder that has it")
    return anndata.read_h5ad(folder / f"{name}.h5ad")


@pytest.fixture(scope="module", params=list(GROUPS))
def held_out(request: pytest.FixtureRequest) -> HeldOut:
    everything = data(request.param)
    held = np.arange(everything.n_obs) % 5 == 0
    model = TechnicalModel.from_anndata(everything[~held], GROUPS[request.param])
    posterior = model.fit_technical(nsamples=40)
    assert model.report is not None
    return HeldOut(everything[held], posterior, model.report)


def test_all_cells_at_once_give_numbers(held_out: HeldOut) -> None:
    posterior, report = held_out.posterior, held_out.report
    block = posterior.read(np.arange(40))
    assert all(np.isfinite(draws).all() for draws in (block.mu, block.phi, block.alpha))
    assert np.isfinite(report.losses).all()
    assert report.losses[-1] < report.losses[0]
    assert posterior.fitted.mean() > 0.95
    assert (block.mu[:, posterior.fitted] > 0).all()


def test_predictive_intervals_hold_counts_of_cells_that_the_fit_has_not_seen(held_out: HeldOut, tmp_path: Path) -> None:
    posterior = held_out.posterior.for_cells(held_out.cells)
    found = calibrate(CountStream(posterior, seed=0), observed(posterior, held_out.cells))
    assert found.ncounts == held_out.cells.n_obs * posterior.fitted.sum()
    assert 0.85 < found.coverage < 0.95, found.line()
    by_mean, sizes = found.coverage_by_mean(), found.histogram.sum(axis=1)
    assert ((by_mean > 0.85) & (by_mean < 0.95))[sizes > 10_000].all(), by_mean
    assert plot_calibration(found, tmp_path / "calibration.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", GROUPS)
def test_gradients_are_those_of_pyros_negative_binomial(name: str) -> None:
    # At the start, where they nearly cancel. Pyro's in float64; in float32 its own are off by up to 5e-4 (log phi).
    model = TechnicalModel.from_anndata(data(name)[:, ::10], GROUPS[name])
    size_factor, _ = model.depth.size_factors("sum_factor")
    everything = Observations(model.counts, model.group, size_factor, model.group_names.size, model.reference)
    seen = (everything.group_sums() > 0).all(axis=0)
    begun = start_at(replace(everything, counts=model.counts[:, seen]))
    means = begun.values["mu"] * np.insert(2 ** begun.values["log2_alpha"], model.reference, 1, axis=0)
    lean = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (means, begun.values["o"][0] ** -2)]
    CountLikelihood(replace(everything, counts=model.counts[:, seen]), torch.device("cpu"))(*lean).backward()
    base, phi = (x.detach().double().requires_grad_() for x in lean)
    mean = base[torch.as_tensor(model.group)] * torch.as_tensor(size_factor)[:, None]
    counts = torch.as_tensor(model.counts[:, seen].toarray(), dtype=torch.float64)
    pyro.distributions.NegativeBinomial(phi, logits=mean.log() - phi.log()).log_prob(counts).sum().backward()
    for x, exact in zip(lean, (base, phi), strict=True):
        torch.testing.assert_close(x.grad.double(), exact.grad, rtol=1e-5, atol=1e-9 * float(exact.grad.abs().max()))


@pytest.mark.parametrize("name", CELLS_OF_A_STEP)
def test_some_cells_a_step_give_the_posterior_of_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every third feature. Differences of the means in posterior standard deviations: 0.13 to 0.20 in the mean at this
    # seed, where means of 100 draws alone differ by 0.11; 99 in 100 are below 0.44 to 0.65.
    part = data(name)[:, ::3]
    whole = TechnicalModel.from_anndata(part, GROUPS[name]).fit_technical(nsamples=100, tolerance=0)
    original = plan.decide
    cells = CELLS_OF_A_STEP[name]
    monkeypatch.setattr(plan, "decide", lambda *a, **k: replace(original(*a, **k), cells=cells))
    some = TechnicalModel.from_anndata(part, GROUPS[name]).fit_technical(nsamples=100)
    fitted = whole.fitted
    a, b = (posterior.read(np.arange(100), np.flatnonzero(fitted)) for posterior in (whole, some))
    for x, y in ((a.mu, b.mu), (a.phi, b.phi), (a.mu[:, None] * a.alpha, b.mu[:, None] * b.alpha)):
        assert np.isfinite(y).all()
        apart = np.abs(np.log(x).mean(axis=0) - np.log(y).mean(axis=0)) / np.log(x).std(axis=0)
        assert apart.mean() < 0.25
        assert np.quantile(apart, 0.99) < 0.8
        np.testing.assert_allclose(np.log(y).std(axis=0).mean(), np.log(x).std(axis=0).mean(), rtol=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_gpu_is_used_when_asked_for(ntc_h5ad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[plan.FitPlan] = []
    original = plan.decide
    monkeypatch.setattr(plan, "decide", lambda *a, **k: plans.append(original(*a, **k)) or plans[-1])  # type: ignore[func-returns-value]
    torch.cuda.reset_peak_memory_stats()
    there, here = (
        TechnicalModel.from_anndata(ntc_h5ad, "bio_rep").fit_technical(nsamples=40, tolerance=0, device=device)
        for device in ("cuda", "cpu")
    )
    assert 0 < torch.cuda.max_memory_allocated() <= plans[0].device_peak_nbytes
    assert plans[1].device_peak_nbytes == 0
    a, b = (posterior.read(np.arange(40)) for posterior in (there, here))
    means = [np.log(block.mu[:, there.fitted]).mean(axis=0) for block in (a, b)]
    np.testing.assert_allclose(means[0], means[1], atol=0.1)
