"""What a user could call instead, on the same posterior in the same rounds, all on one thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.conftest import Race
from benchmarks.peers import numpy_task, pyro_task, scipy_task, torch_task
from benchmarks.slabs import BenchSlab
from streamsample.posterior import Posterior


@pytest.mark.benchmark(group="peers")
@pytest.mark.parametrize("name", ["single_cell", "deep", "bulk"])
def test_peers(
    name: str, workload: Callable[[str], Posterior], race: Race, check: Callable[[BenchSlab], None], small: bool
) -> None:
    """NumPy, torch, Pyro and SciPy make fewer counts, as they are slower: a rate is a rate."""
    posterior = workload(name)
    slab = BenchSlab(posterior)
    ncounts = 20_000 if small else 1_000_000
    cells = max(1, ncounts // posterior.shape[2])
    rivals = {
        "NumPy": numpy_task(posterior, ncounts),
        "torch": torch_task(posterior, ncounts),
        "Pyro Predictive": pyro_task(posterior, 1, 1, min(cells, posterior.shape[1]), posterior.shape[2]),
        "SciPy ppf": scipy_task(posterior, ncounts // 10),
    }
    race(slab.task(1), rivals, workload=name)
    check(slab)
