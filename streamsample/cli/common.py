"""What all commands share: how they speak, how they fail and how they end."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from streamsample.cli.progress import LineHandler, write_line
from streamsample.cli.words import in_options
from streamsample.errors import CountOverflow, Interrupted, StreamsampleError

if TYPE_CHECKING:
    from streamsample.budget import Budget
    from streamsample.planner import Plan

logger = logging.getLogger("streamsample")

RESUMABLE = 75
"""Exit code of what has stopped early and can be continued (``EX_TEMPFAIL``)."""

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print warnings and errors only.")]
QuietReport = Annotated[bool, typer.Option("-q", "--quiet", help="Print the result, warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print what is decided on the way, too.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print a traceback with an error.")]


def command(function: Callable[..., None], *, reports: bool = False) -> Callable[..., None]:
    """Give a function -q, -v and --debug, one line an error and the exit codes, so that Typer can make a command of it.

    Exit codes are 0 (done), 1 (an error, told in one line), 2 (usage, told by Typer) and 75 (stopped early, and can be
    resumed).

    Parameters
    ----------
    function
        The command without these options.
    reports
        Whether it writes no file, and its result is what it prints: that is not silenced.
    """
    options = {"quiet": QuietReport if reports else Quiet, "verbose": Verbose, "debug": Debug}
    stopped = "" if reports else "; the same command starts again"

    @functools.wraps(function)
    def run(*, quiet: bool, verbose: bool, debug: bool, **arguments: Any) -> None:
        with _lines(quiet, verbose), _termination_interrupts():
            try:
                function(**arguments)
            except (typer.Exit, typer.BadParameter, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                _fail(f"interrupted{stopped}", debug)
            except Interrupted as error:
                _fail(one_line(error), debug, RESUMABLE)
            except Exception as error:  # whatever it is, a user reads one line
                _fail(one_line(error), debug)

    signature = inspect.signature(function, eval_str=True)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in options.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *shared])  # type: ignore[attr-defined]
    run.__doc__ = keep_examples(function.__doc__)
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()} | options
    return run


def keep_examples(text: str | None) -> str:
    """Mark the paragraph of examples, so that its lines are printed as they are (a form of click's)."""
    return (text or "").replace("Example:", "\b\n    Example:")


def say(*lines: str) -> None:
    """Print what a command reports on its way; nothing under ``--quiet``."""
    if logger.isEnabledFor(logging.INFO):
        print(*lines, sep="\n", flush=True)


def number_of(number: int, thing: str) -> str:
    """Write how many there are: ``1 sample``, ``1,000 samples``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def detect_budget(memory: str | None) -> Budget:
    """Find the budget, and list under ``--verbose`` where it comes from."""
    from streamsample.budget import Budget
    from streamsample.report.memory import budget_lines

    found = Budget.detect(memory=memory)
    for line in budget_lines(found):
        logger.debug("budget: %s", line)
    return found


def tell_predictive(plan: Plan, groups: int, budget: Budget, **options: Any) -> None:
    """Show what an in-memory Predictive would need for the same counts, before what the stream will take."""
    from streamsample.report.memory import COMPARISON, announce, predictive_lines

    nsamples, ncells, nfeatures = plan.shape
    announce([COMPARISON, *predictive_lines(ncells, nfeatures, groups, nsamples, budget, **options)])


def print_json(facts: object) -> None:
    """Print facts for machines."""
    print(json.dumps(facts, indent=2))


@contextlib.contextmanager
def _lines(quiet: bool, verbose: bool) -> Iterator[None]:
    """Send the library's log to standard error while a command runs."""
    handler, level = LineHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def one_line(error: Exception) -> str:
    """Tell an error in a line, in the words of the command line."""
    text = " ".join(str(error).split())
    if isinstance(error, CountOverflow):
        text += "; give --dtype auto"
    if isinstance(error, StreamsampleError):
        return in_options(text)
    return f"{type(error).__name__}: {text} (--debug prints the traceback)"


def _fail(text: str, debug: bool, code: int = 1) -> NoReturn:
    if debug:  # which ends with the error itself
        traceback.print_exc(file=sys.stderr)
    else:
        write_line(f"error: {text}")
    raise typer.Exit(code)
