"""A minibatch fills slabs: counts that do not fit their type are named, and arrays that do not fit are refused."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from streamsample import minibatch as module
from streamsample import slab_work
from streamsample.errors import CountOverflow, SelectionError
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests import reference
from tests.posteriors import named_posterior

STREAM = CountStream(named_posterior((5, 26, 19)), seed=11)


def overflowing() -> Posterior:
    """Every count is below 256, except cell 70's of feature 20."""
    mu = np.full((4, 33), 20.0)
    size_factor = np.ones(90)
    alpha = np.ones((4, 2, 33))
    alpha[:, 1, 20] = 50.0
    group = np.zeros(90, dtype=int)
    group[70] = 1
    return Posterior.from_arrays(mu, np.full_like(mu, np.inf), alpha, size_factor=size_factor, group=group)


def filled(stream: CountStream, dtype: Any) -> Any:
    nsamples, ncells, _ = stream.shape
    out = np.empty(stream.shape, dtype)
    stream.load(0, nsamples).fill(0, nsamples, 0, ncells, out)
    return out


@pytest.mark.parametrize("features", [slice(None), slice(18, 23)], ids=["wide", "narrow"])
@pytest.mark.parametrize("threads", [1, 2])
def test_overflow_names_the_element_by_its_address(
    features: slice, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slab_work, "ALONE", 0)
    stream = CountStream(overflowing(), 3).select(samples=[2, 3], cells=slice(60, 80), features=features)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        with pytest.raises(CountOverflow, match=r"sample 2, cell 70, feature 20 .*above 255, .*uint8") as error:
            filled(stream, np.uint8)
    finally:
        numba.set_num_threads(before)
    assert isinstance(error.value, OverflowError)
    assert "mean 1000, phi inf" in str(error.value)
    np.testing.assert_array_equal(filled(stream, np.uint16), stream[:])
    np.testing.assert_array_equal(filled(stream.select(cells=slice(0, 10)), np.uint8), stream[:, :10])


def test_counts_just_within_a_type_are_kept() -> None:
    """uint8's 255 is stored, 256 is refused: Poisson means around 255 have both."""
    posterior = Posterior.from_arrays(np.full((1, 1), 250.0), np.full((1, 1), np.inf), n_cells=2000)
    counts = CountStream(posterior)[0, :, 0]
    fits = np.flatnonzero(counts <= 255)
    assert 255 in counts[fits]
    np.testing.assert_array_equal(filled(CountStream(posterior).select(cells=fits), np.uint8)[0, :, 0], counts[fits])
    first = np.flatnonzero(counts == 256)[0]
    with pytest.raises(CountOverflow, match=f"cell {first},"):
        filled(CountStream(posterior).select(cells=[int(first)]), np.uint8)


def test_more_than_32_bits_are_never_wrapped() -> None:
    m, phi, ncells = 1e7, 1e-3, 6000
    posterior = Posterior.from_arrays([[m]], [[phi]], n_cells=ncells)
    u = np.array([reference.uniform(0, 0, n, 0) for n in range(ncells)])
    above = np.flatnonzero(u > reference.cdf(2**32 - 1, m, phi))
    assert above.size
    with pytest.raises(CountOverflow, match=rf"sample 0, cell {above[0]}, feature 0 .*above 4294967295, .*uint32"):
        CountStream(posterior)[:]
    others = np.setdiff1d(np.argsort(u)[-20:], above)
    found = CountStream(posterior)[0, others, 0]
    np.testing.assert_array_equal(found, [reference.quantile(m, phi, float(u[n])) for n in others])
    assert found.max() > 2**30


def test_a_whole_slab_of_overflows_is_one_line_and_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = Posterior.from_arrays(np.full((2, 40), 5000.0), np.full((2, 40), 9.0), n_cells=100)
    run, rooms = slab_work.fill, []

    def counted(*arguments: Any) -> Any:
        rooms.append(arguments[-2])
        return run(*arguments)

    monkeypatch.setattr(module, "fill_slab", counted)
    with pytest.raises(CountOverflow, match=r"sample 0, cell 0, feature 0 ") as error:
        filled(CountStream(posterior), np.uint8)
    assert "\n" not in str(error.value)
    assert rooms == [module.PENDING]


@pytest.mark.parametrize(
    ("slab", "out", "message"),
    [
        ((0, 3, 0, 26), ((3, 26, 19), np.uint32, "C"), "are not within this minibatch's samples 1:4 and cells 0:26"),
        ((1, 5, 0, 26), ((4, 26, 19), np.uint32, "C"), "samples 1:5 and cells 0:26 are not within"),
        ((1, 4, 0, 27), ((3, 27, 19), np.uint32, "C"), "cells 0:27 are not within"),
        ((1, 4, 0, 26), ((3, 25, 19), np.uint32, "C"), r"it needs shape \(3, 26, 19\)"),
        ((1, 4, 0, 26), ((3, 26, 19), np.int32, "C"), "type int32 is given"),
        ((1, 4, 0, 26), ((3, 26, 19), np.uint32, "F"), "C order"),
    ],
)
def test_a_slab_outside_the_arrays_is_refused(slab: tuple[int, int, int, int], out: Any, message: str) -> None:
    shape, dtype, order = out
    array = np.empty(shape, dtype, order=order)
    with pytest.raises(SelectionError, match=message):
        STREAM.load(1, 4).fill(*slab, array)


def test_a_minibatch_knows_its_bytes() -> None:
    assert STREAM.load(1, 4).nbytes == 8 * 3 * 19 * (2 + 2)
    assert STREAM.select(features=[3, 4]).load(0, 5).nbytes == 8 * 5 * 2 * (2 + 2)
