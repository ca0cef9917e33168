"""Threads take runs of units of work: each unit once, the same bytes however many there are, and errors come back."""

from __future__ import annotations

import threading
from collections import Counter

import numba
import numpy as np
import pytest

from streamsample import slab_work as module
from streamsample.slab_work import share_out
from streamsample.stream import CountStream
from tests.posteriors import named_posterior


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("units", [1, 2, 7, 16, 17, 100, 1000])
def test_every_unit_is_worked_on_once(units: int, threads: int) -> None:
    done: Counter[int] = Counter()
    lock = threading.Lock()

    def work(first: int, last: int) -> None:
        with lock:
            done.update(range(first, last))

    share_out(work, units, threads)
    assert done == Counter(range(units))


def test_one_thread_is_the_callers_own() -> None:
    at_work: list[threading.Thread] = []
    share_out(lambda *_: at_work.append(threading.current_thread()), 50, 1)
    assert at_work == [threading.current_thread()]


def test_threads_work_at_once() -> None:
    """Each waits for the other two."""
    together, met = threading.Barrier(3), []
    share_out(lambda *_: met.append(together.wait(timeout=60)), 3, 3)
    assert sorted(met) == [0, 1, 2]


def test_what_a_unit_raises_is_raised_once_all_have_ended() -> None:
    running: list[int] = []

    def work(first: int, last: int) -> None:
        running.append(first)
        try:
            if first <= 5 < last:
                raise ZeroDivisionError(f"unit {first}")
        finally:
            running.remove(first)

    for threads in (1, 4):
        with pytest.raises(ZeroDivisionError, match="unit"):
            share_out(work, 16, threads)
        assert not running


@pytest.mark.parametrize("shape", [(7, 10, 1030), (1, 9000, 20), (3, 40, 5)])
def test_the_same_bytes_for_any_number_of_threads(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = CountStream(named_posterior(shape), seed=3)
    made = []
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr(numba, "get_num_threads", lambda threads=threads: threads)
        out = np.full(shape, 99, np.uint32)
        stream.load(0, shape[0]).fill(0, shape[0], 0, shape[1], out)
        made.append(out)
    for out in made[1:]:
        np.testing.assert_array_equal(out, made[0])


def test_few_counts_start_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 40, 5)
    loaded, out = CountStream(named_posterior(shape), seed=3).load(0, 3), np.empty(shape, np.uint32)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 4)
    monkeypatch.setattr(module, "ThreadPoolExecutor", None)
    loaded.fill(0, 3, 0, 40, out)
    monkeypatch.setattr(module, "ALONE", 0)
    with pytest.raises(TypeError):  # now one is asked for
        loaded.fill(0, 3, 0, 40, out)
