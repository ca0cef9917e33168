"""Progress of one piece of work: a bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamsample.cli.words import in_options
from streamsample.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamsample.planner import Plan
    from streamsample.run import Progress as Event

logger = logging.getLogger("streamsample")

SECONDS_BETWEEN_LINES = 60.0
"""A job's log stays readable: a day's run leaves 1,440 lines."""

Describe = Callable[[float, float], str]
"""What to say beside the bar, of the units done and the units a second (0: not known yet)."""

_live: list[Progress] = []


class Bar:
    """Shows how far some work has come, but not how it ended; nothing at all under ``--quiet``.

    Parameters
    ----------
    label
        What is being done.
    unit
        What is counted: ``counts``, ``steps``.
    describe
        Says more than how many units a second; asked only when something is shown.
    """

    def __init__(self, label: str, unit: str = "counts", describe: Describe | None = None) -> None:
        self.label, self.unit = label, unit
        self._describe = describe or self._speed
        self._shown = logger.isEnabledFor(logging.INFO)
        self._progress: Progress | None = None
        self._last_line = time.monotonic()
        self._first: tuple[float, float] | None = None

    def __enter__(self) -> Bar:
        if self._shown and sys.stderr.isatty():
            self._progress = _make_progress()
            self._task = self._progress.add_task(self.label, total=None, note="")
            self._progress.start()
            _live.append(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            _live.remove(self._progress)
            self._progress.stop()

    def update(self, done: float, total: float, note: str = "") -> None:
        """Show that `done` of `total` units are behind us."""
        now = time.monotonic()
        if self._first is None:  # what went before may be compiling, which says nothing of the rest
            self._first = now, done
        speed = (done - self._first[1]) / max(now - self._first[0], 1e-9)
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total, note=note or self._describe(done, speed))
        elif self._shown and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            note = note or self._describe(done, speed)
            share = f"{format_count(done)} of {format_count(total)} {self.unit} ({done / total:.0%})"
            left = f"{format_seconds((total - done) / speed)} left" if speed else ""
            write_line(f"{self.label}: " + ", ".join(part for part in (share, note, left) if part))

    def _speed(self, _done: float, speed: float) -> str:
        return f"{format_count(speed)} {self.unit}/s" if speed else ""


def describe_run(plan: Plan, latest: Callable[[], Event | None]) -> Describe:
    """Make the words beside a run's bar: samples, counts and bytes a second, memory used and allowed.

    Parameters
    ----------
    plan
        Of the run.
    latest
        Its latest event: bytes are counted as they were written, and less may be allowed than was planned.
    """
    from streamsample.budget import process_nbytes

    nsamples = plan.shape[0]
    of_sample = plan.ncounts // nsamples

    def describe(done: float, speed: float) -> str:
        event = latest()
        parts = [f"{done // of_sample:,.0f} of {nsamples:,} samples"]
        if speed:
            parts += [f"{format_count(speed)} counts/s"]
        if speed and event is not None:
            parts += [f"{format_bytes(speed * event.nbytes / event.counts_done)}/s"]
        allowed = plan.allowed_nbytes if event is None or event.allowed_nbytes is None else event.allowed_nbytes
        return ", ".join([*parts, f"memory {format_bytes(process_nbytes())} of {format_bytes(allowed)}"])

    return describe


def _make_progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=15),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
    )


def write_line(text: str) -> None:
    """Write a line to standard error, above a bar if one is being drawn."""
    if _live:
        _live[-1].console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


class LineHandler(logging.Handler):
    """Shows the library's log records as plain lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; only warnings say what they are."""
        if record.levelno >= logging.WARNING:
            write_line(f"{record.levelname.lower()}: {in_options(record.getMessage())}")
        else:
            write_line(record.getMessage())
