"""A step of the fit against one with the plain likelihood of a Pyro model, all cells in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.conftest import Race
from benchmarks.fit_steps import corner, lean, observations, plain, real_file, steps
from benchmarks.measure import Task
from benchmarks.workloads import REAL, NotAtHandError

DEMO = Path(__file__).parents[1] / "streamsample" / "data" / "papalexi2021_ntc.h5ad"
DATA = {"demo": "bio_rep", **{name: real.group_key for name, real in REAL.items()}}


@pytest.mark.benchmark(group="fit")
@pytest.mark.parametrize("name", DATA)
def test_step(name: str, race: Race, small: bool) -> None:
    """Guide, gradients and optimiser included; the losses are the same."""
    try:
        data = observations(DEMO if name == "demo" else real_file(name), DATA[name])
    except NotAtHandError as reason:
        pytest.skip(str(reason))
    data = corner(data, 60, 40) if small else data
    counts = data.shape[0] * data.shape[1]
    likelihood, nsteps = lean(data), 5 if small else 50
    theirs = steps(data, plain(data), 5)
    assert steps(data, likelihood, 5)() == pytest.approx(theirs(), rel=1e-4)
    ours = Task(steps(data, likelihood, nsteps), nsteps * counts)
    race(ours, {"plain": Task(theirs, 5 * counts)}, rounds=3, shape=data.shape)
