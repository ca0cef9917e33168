"""Posterior-predictive counts, streamed: any slice of ``[S, N, T]`` at any time, from the parameters alone.

Importing this package loads nothing heavy: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsample import errors
    from streamsample.budget import Budget
    from streamsample.estimate import estimate_predictive_memory
    from streamsample.fit import TechnicalModel
    from streamsample.fit.any_model import draw_posterior
    from streamsample.planner import Plan, plan
    from streamsample.posterior import Posterior
    from streamsample.run import sample
    from streamsample.stored import StoredCounts, open
    from streamsample.stream import CountStream
    from streamsample.summary import summarise
    from streamsample.verifier import verify
    from streamsample.virtual import save_virtual

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "CountStream",
    "Plan",
    "Posterior",
    "StoredCounts",
    "TechnicalModel",
    "draw_posterior",
    "errors",
    "estimate_predictive_memory",
    "open",
    "plan",
    "sample",
    "save_virtual",
    "summarise",
    "verify",
]

_HOMES = {
    "Budget": "budget",
    "CountStream": "stream",
    "Plan": "planner",
    "Posterior": "posterior",
    "StoredCounts": "stored",
    "TechnicalModel": "fit",
    "draw_posterior": "fit.any_model",
    "estimate_predictive_memory": "estimate",
    "open": "stored",
    "plan": "planner",
    "sample": "run",
    "save_virtual": "virtual",
    "summarise": "summary",
    "verify": "verifier",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "errors":
        return import_module("streamsample.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'streamsample' has no attribute {name!r}")
    value = getattr(import_module(f"streamsample.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
