"""Stopping a run early, but in order: on a signal, or before the job's time is over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
MARGIN_SECONDS = 10.0
"""Time to sync, to write the journal and to leave; SLURM's own clock looks at a job's end every few seconds."""


class Stopper:
    """Knows whether a run is to stop.

    Parameters
    ----------
    environ
        Where ``SLURM_JOB_END_TIME`` (seconds since 1970) is looked up.
    clock
        Seconds since 1970.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._signal: signal.Signals | None = None
        end = environ.get("SLURM_JOB_END_TIME", "")
        self._end = float(end) if end.isdigit() else None

    def reason(self, seconds: float) -> str | None:
        """Say why to stop now, if that is so.

        Parameters
        ----------
        seconds
            How long the next slab may take.
        """
        if self._signal is not None:
            return self._signal.name
        if self._end is not None and self._clock() + seconds + MARGIN_SECONDS >= self._end:
            return "the end of the job's time (SLURM_JOB_END_TIME)"
        return None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal; a second Ctrl-C does not wait for a slab."""
        if self._signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)


@contextmanager
def stop_on_signals(stopper: Stopper) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGUSR1 stop a run; only the main thread can, and what is ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number in numbers if before[number] is not signal.SIG_IGN]
    try:
        for number in taken:
            signal.signal(number, stopper.on_signal)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
