"""From the options that describe a posterior, or a stream of it, to the thing itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamsample.posterior import Posterior
    from streamsample.stream import CountStream


def open_posterior(
    path: Path, for_cells: Path | None, group_key: list[str] | None, sum_factor_key: str | None
) -> Posterior:
    """Open a posterior, and apply it to other cells if there are any."""
    from streamsample.posterior import Posterior

    posterior = Posterior.open(path)
    if for_cells is None:
        return posterior
    return posterior.for_cells(for_cells, group_key=group_key or None, sum_factor_key=sum_factor_key)


def open_stream(
    path: Path,
    for_cells: Path | None,
    group_key: list[str] | None,
    sum_factor_key: str | None,
    *,
    seed: int,
    samples: str | None,
    cells: str | None,
    features: str | None,
) -> CountStream:
    """Open a posterior as a stream, and select."""
    from streamsample.stream import CountStream

    posterior = open_posterior(path, for_cells, group_key, sum_factor_key)
    return CountStream(posterior, seed=seed).select(samples=samples, cells=cells, features=features)
