"""The part in C, for tests of it; they are skipped, with the reason, where it was not built."""

from __future__ import annotations

import pytest

_twin = pytest.importorskip(
    "streamsample._twin", reason="streamsample was installed without its part in C (no compiler, or no Python.h)"
)
