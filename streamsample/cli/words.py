"""The library's words in those of the command line."""

from __future__ import annotations

import re

_ARGUMENTS = (
    "layer|where|lr|niters|tolerance|device|seed|nsamples|reference|on_extreme|group_key|sum_factor_key|"
    "minibatch_size|safety_factor"
)
_ASSIGNED = re.compile(rf"(?<![\w'\"`.-])({_ARGUMENTS})=(?!=)")
_NAMED = re.compile(r"(?<![\w'\"`.-])(on_extreme|group_key|sum_factor_key|minibatch_size|safety_factor)\b")


def in_options(text: str) -> str:
    """Turn the Python arguments that the library's errors name into options."""
    text = text.replace("overwrite=True (--overwrite)", "--overwrite").replace(" (features=...)", "")
    text = text.replace("a smaller lr", "a smaller --lr").replace("more niters", "a larger --niters")
    text = _ASSIGNED.sub(lambda found: f"{_option(found[1])} ", text)
    return " ".join(_NAMED.sub(lambda found: _option(found[1]), text).split())


def _option(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"
