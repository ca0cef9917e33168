"""Finding positions on an axis by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsample.errors import SelectionError
from streamsample.geometry import IndexArray
from streamsample.parameters import Names


def positions_of(key: Any, known: Names | None, index: IndexArray, axis: str) -> Any:
    """Translate names on one axis into positions within the selection."""
    single = isinstance(key, str)
    listed = isinstance(key, list | tuple | np.ndarray) and np.ndim(key) == 1 and len(key) > 0
    if not single and not (listed and isinstance(key[0], str)):
        return key
    if known is None:
        raise SelectionError(f"the posterior has no {axis} names; give positions")
    positions = {str(name): i for i, name in enumerate(known[index])}
    missing = [name for name in ([key] if single else key) if str(name) not in positions]
    if missing:
        near = ", ".join(sorted(positions, key=lambda name: _distance(name, missing[0]))[:3])
        raise SelectionError(f"there is no {axis} named {missing[0]!r} ({len(missing)} unknown); near it: {near}")
    if len(positions) < index.size:
        twice = [name for name in ([key] if single else key) if np.count_nonzero(known[index] == str(name)) > 1]
        if twice:
            raise SelectionError(f"several {axis}s are named {twice[0]!r}; give positions")
    return positions[key] if single else np.array([positions[str(name)] for name in key])


def _distance(name: str, wanted: str) -> tuple[bool, float, str]:
    """Order names by likeness to a wanted one."""
    from difflib import SequenceMatcher

    return name.lower() != wanted.lower(), -SequenceMatcher(None, name.lower(), wanted.lower()).ratio(), name
