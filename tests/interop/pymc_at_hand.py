"""PyMC, imported without a word of ArviZ's move to new packages."""

from __future__ import annotations

import warnings
from typing import Any

import pytest


def import_pymc() -> Any:
    """Import PyMC; skips the test where it is not installed."""
    import matplotlib.style

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # ArviZ, which PyMC imports, looks for an alias that Matplotlib 3.11 took away.
        patch.setattr(matplotlib.style, "core", matplotlib.style, raising=False)
        warnings.simplefilter("ignore")
        return pytest.importorskip("pymc")
