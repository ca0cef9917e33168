"""Summaries are NumPy's on the counts, in any slab."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsample import summary
from streamsample.errors import SelectionError
from streamsample.geometry import Shape
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from streamsample.summary import summarise
from tests.posteriors import arrays


def stream_of(shape: Shape, mean: float = 3.0) -> CountStream:
    return CountStream(Posterior.from_arrays(**arrays(shape, mean=mean)), 6)


def assert_is_of(found: summary.Summary, counts: Any) -> None:
    """Means and zero fractions to the last bit: their sums are integers below 2**53."""
    np.testing.assert_array_equal(found.mean, counts.sum(axis=1) / counts.shape[1])
    np.testing.assert_array_equal(found.zero_fraction, (counts == 0).mean(axis=1))
    np.testing.assert_allclose(found.variance, counts.var(axis=1, dtype=np.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("nbytes", [1, 700, 5000, 60_000, 2**25])
@pytest.mark.parametrize("shape", [(7, 53, 19), (3, 20, 300), (4, 1, 5), (1, 90, 1)])
def test_any_slab_gives_numpys_summary(shape: Shape, nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "SLAB_NBYTES", nbytes)
    stream = stream_of(shape)
    counts = stream[:]
    assert counts.any()
    assert_is_of(summarise(stream), counts)


def test_large_counts_keep_their_variance() -> None:
    stream = stream_of((2, 400, 9), mean=1e5)
    assert_is_of(summarise(stream), stream[:])


def test_a_part_has_its_own_summary() -> None:
    stream = stream_of((6, 40, 12))
    cells, features = np.arange(40) % 3 == 0, [11, 2, 5]
    found = summarise(stream.select("1:5", cells, features))
    assert found.mean.shape == found.variance.shape == found.zero_fraction.shape == (4, 3)
    assert_is_of(found, stream[1:5, cells, features])


def test_constant_counts_have_no_variance() -> None:
    empty = Posterior.from_arrays(np.zeros((2, 3)), np.ones((2, 3)), n_cells=10)
    found = summarise(CountStream(empty))
    assert (found.mean == 0).all()
    assert (found.variance == 0).all()
    assert (found.zero_fraction == 1).all()


def test_progress_counts_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "SLAB_NBYTES", 1)
    events: list[tuple[int, int]] = []
    summarise(stream_of((5, 8, 4)), progress=lambda done, total: events.append((done, total)))
    assert events == [(done, 5) for done in range(1, 6)]


def test_nothing_has_no_summary() -> None:
    with pytest.raises(SelectionError, match=r"nothing to summarise: the stream's shape is \(5, 0, 4\)"):
        summarise(stream_of((5, 8, 4)).select(cells=[]))
