"""Drawing a posterior's parameters from a fitted guide, by minibatch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import biject_to, constraints

from benchmarks.conftest import Race
from benchmarks.measure import Task
from streamsample.fit.draw import draw
from streamsample.fit.model import Technical
from streamsample.fit.svi import Normal

NGROUPS = 2


def guide(nfeatures: int) -> dict[str, Normal]:
    """A guide such as a fit leaves, with locations at random."""
    rng = np.random.default_rng(0)

    def normal(shape: tuple[int, ...], support: constraints.Constraint) -> Normal:
        loc = rng.normal(size=shape).astype(np.float32)
        return Normal(loc, np.full(shape, 0.1, np.float32), biject_to(support))

    positive = constraints.nonnegative
    return {
        "beta_o": normal((), positive),
        "o": normal((1, nfeatures), positive),
        "mu": normal((1, nfeatures), positive),
        "log2_alpha": normal((NGROUPS - 1, nfeatures), constraints.real),
    }


@pytest.mark.benchmark(group="draw")
@pytest.mark.parametrize(("minibatch", "parallel"), [(8, False), (8, True), (32, True), (128, True), (512, True)])
def test_draw(minibatch: int, parallel: bool, race: Race, small: bool) -> None:
    """``Predictive`` without the observation: parameters only, so that memory does not grow with the cells."""
    nsamples, nfeatures = (16, 50) if small else (512, 10_000)
    model, sites = Technical(torch.ones(nfeatures), torch.ones(nfeatures), NGROUPS, 0), guide(nfeatures)
    made = draw(model, sites, 8, minibatch=8, parallel=True, seed=1)

    def run() -> None:
        found = draw(model, sites, nsamples, minibatch=minibatch, parallel=parallel, seed=1)
        assert np.array_equal(found.mu[:8], made.mu)

    parameters = nsamples * nfeatures * (2 + NGROUPS)
    race(Task(run, parameters), rounds=3, minibatch=minibatch, parallel=parallel)
