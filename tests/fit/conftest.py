"""One fit that several tests look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from streamsample.fit.technical import TechnicalModel
from streamsample.posterior import Posterior
from tests.fit.simulate import Truth, simulate


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Lines reach the log that tests can read, whatever level another test has left."""
    with caplog.at_level(logging.INFO, logger="streamsample"):
        yield


@pytest.fixture(scope="session")
def truth() -> Truth:
    return simulate()


@pytest.fixture(scope="session")
def fit(truth: Truth) -> tuple[TechnicalModel, Posterior]:
    """The simulated counts' model after its fit, and the posterior."""
    model = truth.model()
    return model, model.fit_technical(nsamples=400, tolerance=0, seed=1)
