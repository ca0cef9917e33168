"""Settings of the whole suite, and the small posterior and data set that several tests start from."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import streamsample.kernels.slab  # noqa: F401 (as long as it is not loaded, few counts are read by the twin)
from streamsample import slab_work
from streamsample.posterior import Posterior

# The machines of continuous integration are shared: a slow example is no finding. The same examples are tried every
# time, so that a failure is a change; STREAMSAMPLE_HYPOTHESIS=thorough looks for new ones.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("repeatable"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("STREAMSAMPLE_HYPOTHESIS", "repeatable"))

# Small slabs must take every route, not only those that are compiled already.
slab_work.WORTH_COMPILING = 0


@pytest.fixture(scope="session")
def ntc_h5ad() -> Path:
    """The AnnData file that is shipped with the package: 2,386 cells x 299 genes."""
    return Path(str(files("streamsample.data") / "papalexi2021_ntc.h5ad"))


@pytest.fixture
def small_posterior() -> Posterior:
    """6 samples, 20 cells in 2 groups, 5 features, all named."""
    rng = np.random.default_rng(0)
    return Posterior.from_arrays(
        mu=rng.gamma(2.0, 1.0, (6, 5)),
        phi=rng.gamma(5.0, 1.0, (6, 5)),
        alpha=rng.lognormal(0.0, 0.3, (6, 2, 5)),
        size_factor=rng.lognormal(0.0, 0.3, 20),
        group=rng.integers(0, 2, 20),
        cell_names=[f"cell{n}" for n in range(20)],
        feature_names=["STAT1", "CD86", "PDL1", "IRF1", "JAK2"],
        group_names=["rep_1", "rep_2"],
    )
