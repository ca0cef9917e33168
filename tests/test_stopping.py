"""Signals, and the end of a job's time."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from streamsample.stopping import MARGIN_SECONDS, Stopper, stop_on_signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_is_a_reason_to_stop(name: str) -> None:
    stopper, before = Stopper({}), signal.getsignal(signal.SIGTERM)
    with stop_on_signals(stopper):
        assert stopper.reason(0) is None
        signal.raise_signal(getattr(signal, name))
        assert stopper.reason(0) == name
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_does_not_wait() -> None:
    stopper = Stopper({})
    with stop_on_signals(stopper):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stopper.reason(0) == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        stopper = Stopper({})
        with stop_on_signals(stopper):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stopper.reason(0) is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_threads_take_no_signals() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stop_on_signals(Stopper({})):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_the_job_ends() -> None:
    now = [0.0]
    stopper = Stopper({"SLURM_JOB_END_TIME": "1000"}, clock=lambda: now[0])
    for time, slab, stops in ((0.0, 100.0, False), (985.0, 4.0, False), (985.0, 6.0, True), (2000.0, 0.0, True)):
        now[0] = time
        assert (stopper.reason(slab) is not None) == stops == (time + slab + MARGIN_SECONDS >= 1000)
    assert Stopper({"SLURM_JOB_END_TIME": "unknown"}, clock=lambda: 1e12).reason(0) is None
