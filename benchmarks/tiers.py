"""How many counts reach the scalar path (tier 2), by a copy of the kernel whose scalar path decides nothing.

Such a kernel notes every count that its fast paths leave as undecided, and the slab tells how many those are. The copy
is a file of its own, so that Numba's cache never takes one for the other.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numba
import numpy as np

from benchmarks.slabs import BenchSlab
from benchmarks.workloads import CACHE
from streamsample.kernels import slab as real
from streamsample.kernels.jit import OPTIONS
from streamsample.kernels.negbin import UNDECIDED


@numba.njit(**OPTIONS)
def decide_nothing(m, phi, u):  # type: ignore[no-untyped-def]  # noqa: ARG001 -- compiled; `negbin.quantile`'s signature
    """Stand in for `negbin.quantile`."""
    return np.int64(0), UNDECIDED


def scalar_share(slab: BenchSlab) -> float:
    """Share of the slab's counts that the fast paths leave."""
    counted, total = _copy(), 0
    original: Any = real.fill_slab

    def fill_slab(*arguments: Any) -> None:
        nonlocal total
        counted.fill_slab(*arguments)
        total += int(inspect.signature(original.py_func).bind(*arguments).arguments["found"].sum())

    name = real.__name__
    sys.modules[name] = SimpleNamespace(**(vars(real) | {"fill_slab": fill_slab}))  # type: ignore[assignment]
    try:
        # One type for all, so that the copy is compiled once; and no room, as `found` counts what does not fit, too.
        slab.minibatch._run_kernel(0, slab.nsamples, 0, slab.ncells, np.empty(slab.out.shape, np.uint32), 1)
    finally:
        sys.modules[name] = real
    return total / slab.out.size


def _copy() -> ModuleType:
    """The kernel's module once more, from a copy of its source."""
    source, path = inspect.getsource(real), CACHE / "counted_slab.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        CACHE.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("counted_slab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["counted_slab"] = module  # by which name what Numba has on disk refers to it
    spec.loader.exec_module(module)
    vars(module)["quantile"] = decide_nothing  # before anything of it is compiled
    return module
