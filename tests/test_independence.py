"""Neighbouring addresses, and seeds that differ in one bit, give independent numbers.

Every seed is fixed. Each test makes many comparisons and splits a false-alarm rate of 1e-4 evenly over them, so that a
sound generator fails one of these tests with a chance of 5e-4 in all; and weak ones are shown to fail.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
from numba import prange
from numpy.typing import NDArray
from scipy import stats

from streamsample.geometry import Shape
from streamsample.kernels.philox import uniform_at
from streamsample.posterior import Posterior
from streamsample.slab_work import key_words
from streamsample.stream import CountStream

FALSE_ALARMS = 1e-4
SEED = 0x9D3F_0000_0000_61A5
SHAPE: Shape = (64, 96, 160)
LAGS = (1, 2, 3, 4, 5, 8, 32)  # 4: the same lane of the next quad
BINS = 16

Array = NDArray[np.float64]
Fill = Callable[[int, Shape], Array]


@numba.njit(error_model="numpy", parallel=True)
def _fill(key, out):
    for s in prange(out.shape[0]):
        for n in range(out.shape[1]):
            for t in range(out.shape[2]):
                out[s, n, t] = uniform_at(np.uint64(s), np.uint64(n), np.uint64(t), key)


def uniforms(seed: int, shape: Shape) -> Array:
    """u of a block of addresses."""
    out = np.empty(shape)
    _fill(key_words(seed), out)
    return out


def fine(seed: int, shape: Shape) -> Array:
    """The part of u that word `lo` decides, as a number in (0, 1)."""
    return np.modf(uniforms(seed, shape) * 2.0**32)[0]


def weyl(seed: int, shape: Shape) -> Array:
    """Uniform along every axis, and not independent: multiples of irrational numbers."""
    s, n, t = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.modf(s * 2**0.5 + n * 3**0.5 + t * 5**0.5 + (seed & 0xFFFF) * 1e-9 + 0.1)[0]


def shared_lanes(seed: int, shape: Shape) -> Array:
    """Philox, but two lanes of each quad share their word in a tenth of the quads."""
    u = uniforms(seed, shape)
    u[:, 1::40] = u[:, 0::40][:, : u[:, 1::40].shape[1]]
    return u


def forgotten_bits(seed: int, shape: Shape) -> Array:
    """Philox that forgets the upper half of the seed."""
    return uniforms(seed & 0xFFFFFFFF, shape)


def pairs(values: NDArray[np.generic], axis: int, lag: int) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """All pairs at a distance of `lag` along an axis that share no member."""
    moved = np.moveaxis(values, axis, 0)
    first = np.arange(len(moved) - lag)
    first = first[first // lag % 2 == 0]
    return moved[first].ravel(), moved[first + lag].ravel()


def correlation(a: Array, b: Array) -> float:
    """z of the correlation of uniform numbers, with the mean and variance that they should have."""
    return float(12 * ((a - 0.5) * (b - 0.5)).sum() / np.sqrt(a.size))


def chi_square(a: Array, b: Array) -> float:
    """p of the counts in a grid of BINS x BINS cells, which are equally likely."""
    cells = np.bincount((a * BINS).astype(int) * BINS + (b * BINS).astype(int), minlength=BINS**2)
    return float(stats.chisquare(cells).pvalue)


def check_neighbours(fill: Fill) -> None:
    """Assert that numbers are independent along s, n and t."""
    u = fill(SEED, SHAPE)
    compared = [pairs(u, axis, lag) for axis in range(3) for lag in LAGS]
    alarm = FALSE_ALARMS / (2 * len(compared))
    for a, b in compared:
        assert abs(correlation(a, b)) < stats.norm.isf(alarm / 2)
        assert chi_square(a, b) > alarm


def check_seeds(fill: Fill) -> None:
    """Assert that numbers are independent between a seed and the 64 that differ from it in one bit."""
    shape = (16, 32, 64)
    u = fill(SEED, shape).ravel()
    alarm = FALSE_ALARMS / (2 * 64)
    for bit in range(64):
        other = fill(SEED ^ 1 << bit, shape).ravel()
        assert abs(correlation(u, other)) < stats.norm.isf(alarm / 2), bit
        assert chi_square(u, other) > alarm, bit


@pytest.mark.parametrize("fill", [uniforms, fine])
def test_neighbouring_addresses_are_independent(fill: Fill) -> None:
    check_neighbours(fill)


@pytest.mark.parametrize("fill", [uniforms, fine])
def test_seeds_that_differ_in_one_bit_are_independent(fill: Fill) -> None:
    check_seeds(fill)


@pytest.mark.parametrize("fill", [weyl, shared_lanes])
def test_dependent_neighbours_are_noticed(fill: Fill) -> None:
    with pytest.raises(AssertionError):
        check_neighbours(fill)


def test_a_forgotten_bit_of_the_seed_is_noticed() -> None:
    with pytest.raises(AssertionError):
        check_seeds(forgotten_bits)


def test_counts_are_as_independent_as_the_numbers_behind_them() -> None:
    """Counts 0, 1, 2 and more of one law, at the same distances and in seeds that differ in one bit."""
    mean, phi, nclasses = 1.3, 2.0, 4
    posterior = Posterior.from_arrays(
        np.full((SHAPE[0], SHAPE[2]), mean), np.full((SHAPE[0], SHAPE[2]), phi), n_cells=SHAPE[1]
    )
    chances = stats.nbinom(phi, phi / (phi + mean)).pmf(np.arange(nclasses - 1))
    chances = np.append(chances, 1 - chances.sum())
    joint = np.outer(chances, chances).ravel()

    def classes(seed: int, samples: int = SHAPE[0]) -> NDArray[np.int64]:
        counts = CountStream(posterior, seed).select(samples=slice(samples))[:]
        return np.minimum(counts, nclasses - 1).astype(np.int64)

    counts = classes(SEED)
    compared = [pairs(counts, axis, lag) for axis in range(3) for lag in LAGS]
    compared += [(counts[:4].ravel(), classes(SEED ^ 1 << bit, 4).ravel()) for bit in range(64)]
    for a, b in compared:
        found = np.bincount(a.astype(int) * nclasses + b.astype(int), minlength=nclasses**2)
        assert stats.chisquare(found, joint * a.size).pvalue > FALSE_ALARMS / len(compared)
