"""Running a model on tensors without values, so that nothing of its data's size is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch.overrides import TorchFunctionMode

META = torch.device("meta")


@contextmanager
def valueless() -> Iterator[None]:
    """Make tensors of the device ``meta``, and have others computed with as if they were there.

    Pyro's parameters and its check of values are as they were afterwards.
    """
    with parameters_kept(), pyro.validation_enabled(False), META, _Moved():
        yield


@contextmanager
def parameters_kept() -> Iterator[None]:
    """Keep what a model puts into Pyro's parameter store from staying there; what is there can be read."""
    store = pyro.get_param_store()
    with store.scope(store.get_state()):
        yield


class _Moved(TorchFunctionMode):
    """Moves the tensors of every call, those too that a model or its modules have brought along."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch."""
        named = {name: on_meta(value) for name, value in (kwargs or {}).items()}
        return func(*on_meta(args), **named)


def on_meta(value: Any) -> Any:
    """Shapes and types of tensors, in tuples, lists and dicts too; and of devices the one without values."""
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            return value
        moved = value.to(META)
        return moved.requires_grad_() if value.requires_grad else moved  # Pyro asks whether it is a parameter
    if isinstance(value, torch.device):
        return META
    if type(value) in (tuple, list):
        return type(value)(on_meta(item) for item in value)
    if type(value) is dict:
        return {key: on_meta(item) for key, item in value.items()}
    return value
