"""One real cluster for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import slurm


@pytest.fixture(scope="session")
def cluster() -> Iterator[slurm.Cluster]:
    """Controller and two nodes of 2 CPUs and 2,000 MB each; skips, saying why, where they can't be had."""
    reason = slurm.missing()
    if reason is not None:
        pytest.skip(reason)
    with slurm.cluster() as running:
        yield running
