"""Optional libraries: loaded when they are needed, and named with their remedy where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamsample.errors import MissingExtra


def need(module: str, purpose: str, extra: str) -> Any:
    """Import an optional library.

    Parameters
    ----------
    module
        Its name.
    purpose
        What it is needed for, as the subject of a sentence.
    extra
        Extra of this package that brings it.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        library = module.partition(".")[0]
        raise MissingExtra(f"{purpose} needs {library}; pip install 'streamsample[{extra}]'") from None
