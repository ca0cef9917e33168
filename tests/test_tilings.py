"""No slab, minibatch, thread count, type, selection or order of reading changes a byte; no axis is swapped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsample import slab_work as module
from streamsample.geometry import Shape, minibatches, slabs
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.posteriors import arrays

SHAPE = (4, 150, 40)  # brackets need 64 cells, wide blocks 16 features
STREAM = CountStream(Posterior.from_arrays(**arrays(SHAPE, 3, mean=1.5)), seed=2**40 + 1)
WHOLE = STREAM[:]


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "ALONE", 0)  # slabs as small as these would be one thread's
            yield
    finally:
        numba.set_num_threads(before)


def tiled(stream: CountStream, minibatch: int, slab_samples: int, slab_cells: int, dtype: Any) -> Any:
    """Every count of a stream, made slab by slab."""
    nsamples, ncells, nfeatures = stream.shape
    counts = np.full(stream.shape, 99, dtype)
    for s0, s1 in minibatches(nsamples, minibatch):
        loaded = stream.load(s0, s1)
        for slab in slabs(s0, s1, ncells, slab_samples, slab_cells):
            out = np.full((slab.nsamples, slab.ncells, nfeatures), 77, dtype)
            loaded.fill(slab.s0, slab.s1, slab.n0, slab.n1, out)
            counts[slab.s0 : slab.s1, slab.n0 : slab.n1] = out
    return counts


def chosen(size: int) -> st.SearchStrategy[list[int]]:
    """Some indices of an axis, in any order, each once; often a regular run."""
    runs = st.builds(lambda a, b, step: list(range(size))[a:b:step], st.integers(0, size - 1), st.none(), st.just(1))
    picked = st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True)
    shuffled = st.permutations(range(size)).map(list)
    return st.one_of(runs, picked, shuffled)


@settings(max_examples=4 * settings().max_examples)
@given(
    chosen(SHAPE[0]),
    chosen(SHAPE[1]),
    chosen(SHAPE[2]),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 160),
    st.sampled_from([np.uint8, np.uint16, np.uint32]),
    st.integers(1, 2),
)
def test_any_tiling_of_any_selection_gives_the_same_bytes(
    samples: list[int],
    cells: list[int],
    features: list[int],
    minibatch: int,
    slab_samples: int,
    slab_cells: int,
    dtype: Any,
    nthreads: int,
) -> None:
    assert 60 < WHOLE.max() < 256, "counts of every type, and far above what brackets settle"
    with threads(nthreads):
        made = tiled(STREAM.select(samples, cells, features), minibatch, slab_samples, slab_cells, dtype)
    assert made.tobytes() == WHOLE[np.ix_(samples, cells, features)].astype(dtype).tobytes()


@st.composite
def keys(draw: st.DrawFn, size: int) -> Any:
    """What NumPy takes as the key of one axis."""
    bound = st.none() | st.integers(-2 * size, 2 * size)
    step = st.none() | st.integers(-5, 5).filter(bool)
    indices = st.lists(st.integers(-size, size - 1), max_size=12)
    masks = st.lists(st.booleans(), min_size=size, max_size=size).map(lambda mask: np.array(mask, dtype=bool))
    return draw(st.one_of(st.builds(slice, bound, bound, step), st.integers(-size, size - 1), indices, masks))


@given(*(keys(size) for size in SHAPE))
def test_any_key_reads_what_the_whole_array_holds_there(sample: Any, cell: Any, feature: Any) -> None:
    expected = WHOLE
    for axis, key in reversed(list(enumerate((sample, cell, feature)))):
        index = np.array(key, dtype=int) if isinstance(key, list) else key
        expected = expected[(slice(None),) * axis + (index,)]
    np.testing.assert_array_equal(STREAM[sample, cell, feature], expected)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 9000, 3),  # quads are cut into chunks
        (1, 70, 1100),  # features into blocks
        (2, 4100, 520),  # both
    ],
)
def test_the_cuts_of_parallel_work_do_not_show(shape: Shape) -> None:
    stream = CountStream(Posterior.from_arrays(**arrays(shape)), 4)
    _, ncells, nfeatures = shape
    with threads(1):
        once = stream[:]
        parts = [
            np.concatenate([stream[:, :, t : t + 300] for t in range(0, nfeatures, 300)], axis=2),
            np.concatenate([stream[:, n : n + 1111] for n in range(0, ncells, 1111)], axis=1),
        ]
    with threads(2):
        parts.append(stream[:])
    for part in parts:
        assert part.tobytes() == once.tobytes()


def test_a_cell_does_not_depend_on_the_company_it_keeps() -> None:
    """Bins, quads and blocks are made of other cells each time; the counts stay."""
    for cells in ([7], [7, 6], list(range(7, 72)), list(range(149, -1, -1)), list(range(3, 150, 4))):
        part = STREAM[:, cells]
        np.testing.assert_array_equal(part[:, cells.index(7)], WHOLE[:, 7])


def test_no_axis_or_group_is_swapped() -> None:
    """Every (s, c, t) has its own mean, a third from the next, and every cell its own depth.

    Poisson counts; |z| < 6 for 24 means and 1,500 depths: three false alarms in 10**6 seeds.
    """
    nsamples, ngroups, nfeatures, ncells = 3, 2, 4, 1500
    rng = np.random.default_rng(5)
    levels = 10.0 * 1.33 ** rng.permutation(nsamples * ngroups * nfeatures).reshape(nsamples, ngroups, nfeatures)
    group = (np.arange(ncells) % 3 == 0).astype(int)
    depth = rng.permutation(np.linspace(0.2, 2.0, ncells))
    mu = levels[:, 0]
    posterior = Posterior.from_arrays(
        mu, np.full_like(mu, np.inf), levels / levels[:, :1], size_factor=depth, group=group
    )
    counts = CountStream(posterior, 9)[:]
    for c in range(ngroups):
        total, weight = counts[:, group == c].sum(axis=1), depth[group == c].sum()
        assert 6 / np.sqrt(levels.min() * weight) < 0.33 / 2, "six errors must be less than half the way to the next"
        assert (np.abs(total - levels[:, c] * weight) / np.sqrt(levels[:, c] * weight) < 6).all()
    expected = levels.sum(axis=(0, 2))[group] * depth
    assert (np.abs(counts.sum(axis=(0, 2)) - expected) / np.sqrt(expected) < 6).all()
