"""How it shows that memory ran out."""

from __future__ import annotations

import torch

# Of torch's allocator ("can't allocate memory: you tried to allocate ..." on Linux, "not enough memory: ..." elsewhere)
# and of the C++ library.
_SIGNS = ("you tried to allocate", "bad_alloc", "bad allocation")


def is_memory_error(error: BaseException) -> bool:
    """Tell whether memory ran out; torch's allocator for the CPU raises a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
