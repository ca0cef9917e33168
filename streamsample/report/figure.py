"""Pictures: a figure of its own for each, and files that appear when they are whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamsample.errors import MissingExtra, StoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure() -> Figure:
    """Make a figure for two panels: no pyplot, no global state, no display.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("the picture needs matplotlib; pip install 'streamsample[plot]'") from None
    figure = Figure(figsize=(10.5, 5.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture under a partial name and rename it.

    Raises
    ------
    StoreError
        If it can't be written, or the suffix is not that of a picture.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(partial)
        os.replace(partial, path)
    except ValueError as error:  # a suffix that matplotlib does not know
        raise StoreError(f"{path} can't be drawn: {error}") from None
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path
