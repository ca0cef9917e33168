"""From observed counts to draws of the technical model's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsample.fit.technical import TechnicalModel as TechnicalModel

__all__ = ["TechnicalModel"]


def __getattr__(name: str) -> Any:
    """Import the model when it is first used (PEP 562)."""
    if name != "TechnicalModel":
        raise AttributeError(f"module 'streamsample.fit' has no attribute {name!r}")
    from streamsample.fit.technical import TechnicalModel

    return TechnicalModel
