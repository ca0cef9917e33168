"""All commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from streamsample import __version__
from streamsample.cli.budget import budget
from streamsample.cli.common import command, keep_examples
from streamsample.cli.demo import demo
from streamsample.cli.export import export
from streamsample.cli.fit import fit
from streamsample.cli.import_ import import_
from streamsample.cli.info import info
from streamsample.cli.plan import plan
from streamsample.cli.ppc import ppc
from streamsample.cli.sample import sample
from streamsample.cli.verify import verify
from streamsample.cli.virtual import virtual

__all__ = ["app"]

# Plain help: it reads the same in a terminal, in a job's log and in a test.
app = typer.Typer(
    name="streamsample",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for function in (demo, fit, import_, budget, plan, sample, virtual, info, ppc, verify, export):
    name = function.__name__.rstrip("_")  # `import` is a word of Python
    app.command(name)(command(function, reports=function in (budget, plan, info, verify)))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamsample {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Posterior-predictive counts, streamed: fit, plan, sample and check, within the memory that there is.

    Example:
      streamsample demo                         the whole job on real data, in two minutes
      streamsample info counts.h5ad             what a file holds, and the command that fits it
    """


root.__doc__ = keep_examples(root.__doc__)
app.callback()(root)
