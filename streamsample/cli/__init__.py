"""The command ``streamsample``: parse, call the library, print."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; exits with 0, 1 (an error), 2 (usage) or 75 (stopped early, can be resumed)."""
    try:  # imports take a tenth of a second, in which Ctrl-C may come as well
        from streamsample.cli.root import app

        app(prog_name="streamsample")
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        raise SystemExit(1) from None


def __getattr__(name: str) -> Any:
    """Import the commands when they are asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamsample.cli.root import app

    return app
