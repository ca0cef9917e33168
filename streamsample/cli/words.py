"""The library's words in those of the command line."""

from __future__ import annotations

import re

_ARGUMENTS = (
    "layer|where|lr|niters|tolerance|device|seed|nsamples|reference|on_extreme|group_key|sum_factor_key|"
    "minibatch_size|safety_factor|for_cells|n_cells|size_factor|group|sample_dims|design"
)
_ASSIGNED = re.compile(rf"(?<![\w'\"`.-])({_ARGUMENTS})=(?!=)")
_FLAG = re.compile(r"\b\w+=True(?: and \w+=True)* \((--[\w -]+)\)")
_NAMED = re.compile(r"(?<![\w'\"`.-])(on_extreme|group_key|sum_factor_key|minibatch_size|safety_factor)\b")


def in_options(text: str) -> str:
    """Turn the Python arguments that the library's errors name into options."""
    text = _FLAG.sub(r"\1", text).replace(" (features=...)", "")
    text = text.replace("a smaller lr", "a smaller --lr").replace("more niters", "a larger --niters")
    text = _ASSIGNED.sub(lambda found: f"{_option(found[1])} ", text)
    return " ".join(_NAMED.sub(lambda found: _option(found[1]), text).split()).replace(" ,", ",")


def _option(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"
