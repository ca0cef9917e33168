"""How kernels are compiled, in one place."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import event, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

# error_model="numpy": Python's check for a zero divisor is a branch in every loop and stops LLVM's vectoriser.
# fastmath stays off: contraction and reassociation would void the error bounds, and the bytes with them.
# nogil: a kernel runs beside the writer thread.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "nogil": True, "boundscheck": False}


def _cacheable(function: Callable[..., Any]) -> bool:
    """Whether Numba finds a folder where it may keep compiled code."""
    try:
        FunctionCache(function)
    except RuntimeError:  # "no locator available": neither the package's folder nor the user's cache is writable
        return False
    return True


def kernel(function: F) -> F:
    """Compile a serial function, kept on disk where a folder for that is writable."""
    return _compile(function, parallel=False)


def inlined(function: F) -> F:
    """Compile a helper of an inner loop, pasted into its caller by Numba.

    LLVM would inline it too, but after its chance to vectorise the caller's loop has passed:
    Philox over features ran at 430 M words/s that way, and at 4,000 this way.
    """
    compiled: F = numba.njit(**OPTIONS, inline="always")(function)
    return compiled


def parallel_kernel(function: F) -> F:
    """Compile a function whose ``prange`` loops run on Numba's threads."""
    return _compile(function, parallel=True)


def _compile(function: F, *, parallel: bool) -> F:
    cache = _cacheable(function)
    compiled: Any = numba.njit(**OPTIONS, no_cfunc_wrapper=True, parallel=parallel, cache=cache)(function)
    if cache:
        # Numba looks at the function's own file only, and would go on using what was compiled
        # from an older version of a file that it calls into. Here every kernel's source counts.
        compiled._cache._cache_file._source_stamp = sources_digest()
    return cast(F, compiled)


@functools.cache
def sources_digest() -> str:
    """SHA-256 of the sources of all kernels."""
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()


class _Announcer(event.Listener):  # type: ignore[misc]  # Numba has no usable hints
    """Says so before a run waits for the compiler, which it does once for each type of counts and machine."""

    def __init__(self, function: Any, what: str) -> None:
        self.function, self.what = function, what

    def on_start(self, event: event.Event) -> None:
        """Take note of a compilation that begins."""
        if event.data["dispatcher"] is self.function:
            counts = event.data["args"][-1]
            logger.info("compiling %s for %s, once on this machine (5 to 10 s)", self.what, counts.dtype)

    def on_end(self, event: event.Event) -> None:
        """Take no note of its end."""


def announce_compilation(function: Any, what: str) -> None:
    """Log a line whenever a kernel is compiled, and not when it is found on disk; its last argument holds counts."""
    if not _cacheable(function.py_func):
        _warn_of_no_folder()
    event.register("numba:compile", _Announcer(function, what))


@functools.cache
def _warn_of_no_folder() -> None:
    """Say so once."""
    logger.warning("no writable folder for compiled code: compiling in memory; NUMBA_CACHE_DIR can name one")


def threads_available() -> int:
    """Threads that Numba may use in this process."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # made by a metaclass


@intrinsic
def float_of_bits(typingctx: Any, bits: Any) -> Any:  # noqa: ARG001 -- Numba's signature
    """Reinterpret the 64 bits of an unsigned integer as a float64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.float64(types.uint64), codegen


@intrinsic
def bits_of_float(typingctx: Any, value: Any) -> Any:  # noqa: ARG001 -- Numba's signature
    """Reinterpret a float64 as the 64 bits of an unsigned integer."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.uint64(types.float64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, bits: Any) -> Any:  # noqa: ARG001 -- Numba's signature
    """Number of zero bits below the lowest one that is set; 64 where there is none."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen
