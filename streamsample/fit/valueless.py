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
def valueless(*, strictly: bool) -> Iterator[None]:
    """Make tensors of the device ``meta``, and have others computed with as if they were there.

    Pyro's parameters and its check of values are as they were afterwards.

    Parameters
    ----------
    strictly
        Whether that holds for every call, or only for those that would mix devices: then a model can read the number
        of its groups off data that it has brought along.
    """
    with parameters_kept(), pyro.validation_enabled(False), META, _Moved(strictly):
        yield


@contextmanager
def parameters_kept() -> Iterator[None]:
    """Keep what a model puts into Pyro's parameter store from staying there; what is there can be read."""
    store = pyro.get_param_store()
    with store.scope(store.get_state()):
        yield


class _Moved(TorchFunctionMode):
    """Moves the tensors of a call, those too that a model or its modules have brought along."""

    def __init__(self, strictly: bool) -> None:
        super().__init__()
        self._strictly = strictly

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch."""
        named = dict(kwargs or {})
        if self._strictly or _any_on_meta((args, named)):
            args, named = on_meta((args, named))
        return func(*args, **named)


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


def _any_on_meta(value: Any) -> bool:
    """Tell whether a tensor without values is in it."""
    if isinstance(value, torch.Tensor):
        return value.is_meta
    if type(value) is dict:
        return any(map(_any_on_meta, value.values()))
    return type(value) in (tuple, list) and any(map(_any_on_meta, value))
