"""Some cells a step: the same fit in the mean, and within its own spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from scipy import sparse

from streamsample.fit import plan
from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.observations import Observations
from streamsample.fit.subsample import CELL_PLATE, SampledLikelihood, likelihood
from tests.fit.simulate import Truth, simulate

CPU = torch.device("cpu")


@pytest.fixture
def data(truth: Truth) -> Observations:
    numbers = np.searchsorted(["a", "b", "c"], truth.group)
    return Observations(sparse.csr_matrix(truth.counts.astype(np.int32)), numbers, truth.sum_factor, 3, 0)


@pytest.fixture
def at(truth: Truth) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, T) means and (T,) total counts."""
    base, phi = torch.tensor(truth.mu * truth.alpha * 1.2).float(), torch.tensor(truth.phi * 0.9).float()
    return base.requires_grad_(), phi.requires_grad_()


def value_and_gradients(of: Any, at: tuple[torch.Tensor, torch.Tensor]) -> tuple[np.ndarray, ...]:
    value = of(*at)
    return tuple(found.detach().numpy() for found in (value, *torch.autograd.grad(value, at)))


def test_parts_of_the_cells_add_up_to_all(data: Observations, at: tuple[torch.Tensor, torch.Tensor]) -> None:
    whole = value_and_gradients(CountLikelihood(data, CPU), at)
    sampled = SampledLikelihood(data, CPU, 100)
    order = np.random.default_rng(0).permutation(600)
    parts = [value_and_gradients(lambda b, p, c=c: sampled.of_cells(b, p, c), at) for c in np.split(order, 6)]
    for expected, *found in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(np.sum(found, axis=0), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_estimate_is_unbiased(data: Observations, at: tuple[torch.Tensor, torch.Tensor]) -> None:
    # 200 estimates, their mean within 4 standard errors: one false alarm in 10,000 seeds a number, at a fixed one.
    torch.manual_seed(0)
    sampled = SampledLikelihood(data, CPU, 60)
    values, by_base, by_phi = (
        np.array(found) for found in zip(*(value_and_gradients(sampled, at) for _ in range(200)), strict=True)
    )
    whole = value_and_gradients(CountLikelihood(data, CPU), at)
    for found, expected in ((values, whole[0]), (by_base, whole[1]), (by_phi, whole[2])):
        error = found.std(axis=0) / np.sqrt(200)
        assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()
    assert values.std() > 0


def test_the_cells_are_those_of_pyros_plate(data: Observations, at: tuple[torch.Tensor, torch.Tensor]) -> None:
    sampled = SampledLikelihood(data, CPU, 60)
    with pyro.poutine.trace() as seen:
        value = sampled(*at).detach()
    chosen = seen.trace.nodes[CELL_PLATE]["value"].numpy()
    assert np.unique(chosen).size == 60
    assert float(value) == pytest.approx(10 * float(sampled.of_cells(*at, cells=chosen).detach()))


def test_a_group_may_have_no_cell_in_a_step(data: Observations, at: tuple[torch.Tensor, torch.Tensor]) -> None:
    inside = np.flatnonzero(data.group == 1)
    _, by_base, _ = value_and_gradients(lambda b, p: SampledLikelihood(data, CPU, 60).of_cells(b, p, inside[:10]), at)
    assert np.isfinite(by_base).all()
    assert (by_base[[0, 2]] == 0).all()


def test_all_cells_need_no_estimate(data: Observations) -> None:
    assert isinstance(likelihood(data, CPU, 600), CountLikelihood)
    assert isinstance(likelihood(data, CPU, 599), SampledLikelihood)


def test_a_fit_by_some_cells_agrees_with_that_by_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Differences of the means in posterior standard deviations: 0.25 in the mean over features at this seed.
    truth = simulate(seed=3, ncells=1200, nfeatures=40)
    whole = truth.model().fit_technical(nsamples=200, tolerance=0, seed=1)
    original = plan.decide
    monkeypatch.setattr(plan, "decide", lambda *a, **k: replace(original(*a, **k), cells=300))
    model = truth.model()
    part = model.fit_technical(nsamples=200, tolerance=1e-4, seed=1)
    a, b = (posterior.read(np.arange(200)) for posterior in (whole, part))
    for x, y in ((a.mu, b.mu), (a.phi, b.phi), (a.mu[:, None] * a.alpha, b.mu[:, None] * b.alpha)):
        apart = np.abs(np.log(x).mean(axis=0) - np.log(y).mean(axis=0)) / np.log(x).std(axis=0)
        assert apart.mean() < 0.6
        np.testing.assert_allclose(np.log(y).std(axis=0).mean(), np.log(x).std(axis=0).mean(), rtol=0.15)
    assert model.report is not None
    assert (model.report.steps, model.report.tolerance) == (400, 0)
    (line,) = (text for text in caplog.messages if "each step takes" in text)
    assert line.startswith("[MEMORY] A fit of all 1,200 cells at once would need")
    assert "each step takes 300 cells, drawn anew" in line
