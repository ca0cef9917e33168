"""The kernels' work on a slab: which route each feature takes, and which thread does what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.bins import Layout
from streamsample.compiled import on_disk
from streamsample.geometry import IndexArray
from streamsample.parameters import Parameters

if TYPE_CHECKING:
    from streamsample.kernels.blocks import Draws

UNITS_A_THREAD = 8  # units of work a thread, so that an uneven one does not leave the others waiting
RUNS_A_THREAD = 32  # runs of units that are handed out; the last one is what other threads may have to wait for
CELLS_A_CHUNK = 2048  # fewer cells a unit would spend more on tables than they save
ALONE = 2**16  # counts that one thread has made before others are at work
WORTH_COMPILING = 2**22
"""Counts that make up for compiling a route: each costs up to a microsecond more on another one, compiling 5 s."""

_left: Counter[tuple[str, str]] = Counter()
"""Counts that were left to another route, by route and type, as it was not worth compiling yet."""


@dataclass(frozen=True)
class Done:
    """What the kernels tell of a slab."""

    pending: IndexArray
    """(P, 3) positions (s, n, t) of counts that are undecided or do not fit."""
    most: int
    """Of a unit: more than its room means that not all of them are in `pending`."""
    waited: int
    """Counts that waited for SIMD lanes."""
    scalar: int
    """Counts that went on to tier 2."""
    outside: int
    """Means outside the domain."""


def fill(
    seed: int,
    samples: IndexArray,
    features: IndexArray,
    parameters: Parameters,
    layout: Layout,
    capacity: int,
    out: NDArray[Any],
) -> Done:
    """Fill ``out[s, n, t]``, and tell what is left for tier 3.

    Parameters
    ----------
    seed
        In [0, 2**64).
    samples, features
        (s,) and (t,) indices into the posterior.
    parameters
        Of these samples and features.
    layout
        Of the cells.
    capacity
        Undecided counts that a unit of work has room for.
    """
    import numba

    from streamsample.kernels import slab
    from streamsample.kernels.waiting import FOUND, OUTSIDE, PENDING, SCALAR, WAITED

    nsamples, ncells, nfeatures = out.shape
    blocks = nsamples * -(-nfeatures // slab.BLOCK)
    threads = numba.get_num_threads() if out.size > ALONE else 1
    chunks = max(1, min(-(-UNITS_A_THREAD * threads // blocks), ncells // CELLS_A_CHUNK))
    units = blocks * chunks
    pending = np.empty((units, capacity, 3), dtype=np.int64)
    found = np.zeros((units, FOUND), dtype=np.int64)
    columns, block = features.astype(np.uint64), draws(parameters)
    route = np.full((nsamples, nfeatures), slab.BRACKETS, dtype=np.int8)
    if nfeatures >= slab.NARROW and _choosing_pays(out):
        given = columns, block, layout, chunks, int(np.iinfo(out.dtype).max), route
        share_out(lambda first, last: slab.choose_routes(first, last, *given), blocks, threads)
    stages = _stages(route, out)
    arguments = (
        samples.astype(np.uint64), columns, block, route, layout, key_words(seed), chunks, pending, found, out
    )  # fmt: skip
    for stage in stages:

        def work(first: int, last: int, stage: Callable[..., None] = stage) -> None:
            stage(first, last, *arguments)

        share_out(work, units, threads)
    undecided = found[:, PENDING]
    kept = np.arange(capacity) < undecided[:, None]  # (units, capacity)
    return Done(
        pending=pending[kept],
        most=int(undecided.max()),
        waited=int(found[:, WAITED].sum()),
        scalar=int(found[:, SCALAR].sum()),
        outside=int(found[:, OUTSIDE].sum()),
    )


def _stages(route: NDArray[np.int8], out: NDArray[Any]) -> list[Callable[..., None]]:
    """Return the kernels that work on a slab, in their order; features leave a route that is not worth compiling.

    route: (s, t), changed.
    """
    from streamsample.kernels import slab

    _, ncells, nfeatures = out.shape
    if nfeatures < slab.NARROW:
        return [slab.fill_by_feature]
    taken = np.bincount(route.ravel(), minlength=4)
    stages: list[Callable[..., None]] = []
    for kernel, routes in (slab.fill_by_gamma, (slab.GAMMA, slab.SKEWED)), (slab.fill_by_columns, (slab.COLUMN,)):
        counts = int(taken[list(routes)].sum()) * ncells
        if counts and _is_worth(kernel, counts, out.dtype.name):
            stages.append(kernel)
        elif counts:
            route[np.isin(route, routes)] = slab.BRACKETS
    return [slab.fill_by_rows, *stages] if (route == slab.BRACKETS).any() else stages


def _choosing_pays(out: NDArray[Any]) -> bool:
    """Whether there is a route beside that of small means, or soon will be; else choosing need not be compiled."""
    from streamsample.kernels import slab

    dtype = out.dtype.name
    there = _is_there(slab.fill_by_gamma, dtype) or _is_there(slab.fill_by_columns, dtype)
    return there or _missed("choose_routes", dtype, out.size)


def _is_worth(kernel: Any, counts: int, dtype: str) -> bool:
    """Whether a route's kernel is there, or has been missed often enough to be compiled."""
    return _is_there(kernel, dtype) or _missed(kernel.py_func.__name__, dtype, counts)


def _is_there(kernel: Any, dtype: str) -> bool:
    """Whether a kernel is compiled for counts of a type, on disk at least."""
    loaded = any(signature[-1].dtype.name == dtype for signature in kernel.signatures)
    return loaded or _was_on_disk(kernel.py_func.__name__, dtype)


@cache
def _was_on_disk(name: str, dtype: str) -> bool:
    """Whether it was there when first asked for: looking takes as long as reading a few hundred counts."""
    return on_disk(dtype, name)


def _missed(name: str, dtype: str, counts: int) -> bool:
    """Take note of counts that something is missed for; whether they are enough to compile it."""
    _left[name, dtype] += counts
    return _left[name, dtype] >= WORTH_COMPILING


def share_out(work: Callable[[int, int], object], units: int, threads: int) -> None:
    """Have threads work on runs of units, each taking the next run when it is done with one."""
    run = -(-units // (RUNS_A_THREAD * threads))
    bounds = [(first, min(first + run, units)) for first in range(0, units, run)]
    if threads == 1 or len(bounds) == 1:
        work(0, units)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="streamsample-kernel") as pool:
        for done in [pool.submit(work, *bound) for bound in bounds]:
            done.result()


def draws(parameters: Parameters) -> Draws:
    """Parameters as the kernels take them: float64 in C order that may be written, whose types are always the same."""
    from streamsample.kernels.blocks import Draws

    p, nsamples = parameters, len(parameters.mu)
    inflation = np.empty((nsamples, 0)) if p.zero_inflation is None else p.zero_inflation
    beta = np.empty((nsamples, 0, p.mu.shape[1])) if p.beta is None else p.beta
    return Draws(*(np.require(array, np.float64, ["C", "W"]) for array in (p.mu, p.phi, p.alpha, inflation, beta)))


def key_words(seed: int) -> NDArray[np.uint64]:
    """(2,) key of Philox: low and high half of the seed."""
    return np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)
