"""Progress: bars on a terminal, lines in a file, nothing when quiet."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator

import pytest

from streamsample.budget import Budget
from streamsample.cli.progress import Bar, LineHandler, describe_run, write_line
from streamsample.memory_model import ParameterFacts
from streamsample.planner import decide
from streamsample.run import Progress
from streamsample.target import TargetFacts
from streamsample.units import GIB


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The library's logger as a command sets it up."""
    found, handler = logging.getLogger("streamsample"), LineHandler()
    level = found.level
    found.addHandler(handler)
    found.setLevel(logging.INFO)
    yield found
    found.removeHandler(handler)
    found.setLevel(level)


@pytest.mark.usefixtures("logger")
def test_in_a_file_short_work_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("counts.h5") as bar:
        bar.update(1e6, 4e6)
        bar.update(4e6, 4e6)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("logger")
def test_in_a_file_lines_come_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Bar("fit", "steps") as bar:
        for step in range(1, 31):
            now = 6.0 * step
            bar.update(step, 30, f"loss {100 - step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fit: 10 of 30 steps (33%), loss 90, 2 min 00 s left",
        "fit: 20 of 30 steps (67%), loss 80, 1 min 00 s left",
        "fit: 30 of 30 steps (100%), loss 70, 0 ms left",
    ]


def test_a_terminal_shows_a_bar_and_log_lines_above_it(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bar("counts.h5") as bar:
        bar.update(50, 100)
        logger.info("a line [with] brackets")
        bar.update(100, 100)
    shown = terminal.getvalue()
    assert "counts.h5" in shown
    assert "100%" in shown
    assert "a line [with] brackets\n" in shown
    write_line("afterwards")
    assert terminal.getvalue().endswith("afterwards\n")


def test_quiet_shows_nothing_but_warnings(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logger.setLevel(logging.WARNING)
    with Bar("counts.h5") as bar:
        bar.update(100, 100)
    logger.info("not shown")
    logger.warning("the fit is short; give niters= above 100")
    assert capsys.readouterr().err == "warning: the fit is short; give --niters above 100\n"


@pytest.mark.usefixtures("logger")
def test_a_runs_lines_tell_samples_rates_and_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    plan = decide(ParameterFacts(40, 1000, 500, 1), Budget(10 * GIB, 2), TargetFacts("counts.h5", ".h5"))
    event: Progress | None = None
    with Bar("counts.h5", describe=describe_run(plan, lambda: event)) as bar:
        for sample in range(1, 41):
            now, done = 10.0 * sample, sample * 500_000
            # An eighth of a byte a count, and from the tenth sample on less memory than was planned.
            event = Progress(done, plan.ncounts, done // 8, now, allowed_nbytes=(7 if sample < 10 else 3) * GIB)
            bar.update(done, plan.ncounts)
    first, second, *_ = capsys.readouterr().err.splitlines()
    start = "counts.h5: 3.0 M of 20.0 M counts (15%), 6 of 40 samples, 50.0 k counts/s, 6.1 KiB/s, memory "
    assert first.startswith(start)
    assert first.endswith(" of 7.0 GiB, 5 min 40 s left")
    assert " of 3.0 GiB, " in second
