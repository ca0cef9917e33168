"""When a fit stops, and what it says."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streamsample.fit.convergence import EWMA, WINDOW, FitReport, SmoothedLoss
from tests.fit.simulate import Truth


def test_the_smoothed_loss_is_an_exponentially_weighted_mean() -> None:
    trend = SmoothedLoss()
    for loss in (10.0, 20.0, 0.0):
        trend.add(loss)
    assert EWMA == 0.05
    assert trend.smoothed == pytest.approx([10.0, 10.5, 9.975])


def test_change_needs_a_whole_window_and_forgets_what_is_older() -> None:
    trend = SmoothedLoss()
    for _ in range(WINDOW):
        trend.add(100.0)
    assert trend.change == float("inf")
    trend.add(100.0)
    assert trend.change == 0
    trend.add(120.0)
    assert trend.change == pytest.approx(1 / 101)
    for _ in range(10 * WINDOW):
        trend.add(100.0)
    assert trend.change < 1e-6


def test_it_stops_when_the_loss_rests(truth: Truth, caplog: pytest.LogCaptureFixture) -> None:
    model = truth.model()
    model.fit_technical(niters=400, nsamples=8, tolerance=2e-3)
    assert model.report is not None
    assert WINDOW < model.report.steps < 400
    assert model.report.converged is True
    assert any("converged: the smoothed loss changed" in message for message in caplog.messages)


def test_no_tolerance_runs_every_step(truth: Truth) -> None:
    model, steps = truth.model(), []
    model.fit_technical(niters=130, nsamples=8, tolerance=0, progress=lambda *event: steps.append(event))
    assert model.report is not None
    assert model.report.converged is None
    assert [step for step, _, _ in steps] == list(range(1, 131))
    assert {total for _, total, _ in steps} == {130}
    assert np.array_equal([loss for _, _, loss in steps], model.report.losses)


def test_a_fit_that_did_not_converge_is_a_warning(truth: Truth, caplog: pytest.LogCaptureFixture) -> None:
    model = truth.model()
    model.fit_technical(niters=130, nsamples=8, tolerance=1e-9)
    assert model.report is not None
    assert model.report.converged is False
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "NOT converged" in warnings[0]
    assert "give a larger niters= or tolerance=" in warnings[0]


@pytest.mark.parametrize(("tolerance", "level"), [(1e-4, logging.WARNING), (0, logging.INFO)])
def test_too_few_steps_to_judge_are_said_to_be(
    tolerance: float, level: int, truth: Truth, caplog: pytest.LogCaptureFixture
) -> None:
    truth.model().fit_technical(niters=WINDOW, nsamples=8, tolerance=tolerance)
    told = [record for record in caplog.records if "fit: 100 of 100 steps" in record.getMessage()]
    assert [record.levelno for record in told] == [level]
    text = told[0].getMessage()
    assert "too few to judge whether it converged: the smoothed loss is compared over 100 steps" in text
    assert "inf" not in text
    assert text.endswith("give niters= above 100") is (tolerance > 0)


def test_the_line() -> None:
    report = FitReport(120, 400, 1e-4, 5e-5, (1.0,) * 120, 2.0)
    assert report.line() == (
        "fit: 120 of 400 steps in 2.0 s, converged: the smoothed loss changed by 5.0e-05 of itself "
        "(tolerance 0.0001) over the last 100 steps"
    )
