"""Keeping counts from being drawn by whatever runs a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.primitives
import torch

from streamsample.fit.observed_site import is_count

PRIMITIVES: Any = pyro.primitives
"""Where ``pyro.sample`` hands its message to the effect handlers."""


@contextmanager
def counts_unexecuted() -> Iterator[None]:
    """Take every site of counts for observed, with a stand-in without memory as its value.

    A guide of Pyro that was never called runs its model first, and that draws counts where it is given none. An effect
    handler would not see it: the guide hides its run from those outside, as ``poutine.block`` hides the observation
    from the guide. So sites are met before any handler is.
    """
    original = PRIMITIVES.apply_stack

    def met(msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"] and is_count(msg["fn"]):
            msg["value"] = torch.zeros(()).expand(msg["fn"].shape())
            msg["is_observed"] = msg["done"] = True
        original(msg)

    PRIMITIVES.apply_stack = met
    try:
        yield
    finally:
        PRIMITIVES.apply_stack = original
