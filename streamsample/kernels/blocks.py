"""Parameters of one sample and a block of features, or of some of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample.kernels.jit import kernel


class Draws(NamedTuple):
    """Parameter draws of a minibatch, as the kernel takes them."""

    mu: NDArray[np.float64]
    """(S, T)."""
    phi: NDArray[np.float64]
    """(S, T)."""
    alpha: NDArray[np.float64]
    """(S, C, T)."""
    inflation: NDArray[np.float64]
    """(S, T), or (S, 0) where there is none."""
    beta: NDArray[np.float64]
    """(S, K, T), K = 0 without a design."""


class Block(NamedTuple):
    """Of one sample: L features."""

    features: NDArray[np.uint64]
    """(L,) their indices."""
    base: NDArray[np.float64]
    """(C, L) means at size factor 1, and without the design's part."""
    phi: NDArray[np.float64]
    """(L,)."""
    inflation: NDArray[np.float64]
    """(L,), zeros where there is none."""
    beta: NDArray[np.float64]
    """(K, L), K = 0 without a design."""


@kernel
def block_of(draws, s, features, t0, t1):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """A block of features ``t0:t1`` of the sample at `s`."""
    size = t1 - t0
    base, inflation = np.empty((draws.alpha.shape[1], size), np.float64), np.zeros(size)
    phi, beta = np.empty(size, np.float64), np.empty((draws.beta.shape[1], size), np.float64)
    for i in range(size):
        phi[i] = draws.phi[s, t0 + i]
        for c in range(base.shape[0]):
            base[c, i] = draws.mu[s, t0 + i] * draws.alpha[s, c, t0 + i]
        if draws.inflation.shape[1] > 0:
            inflation[i] = draws.inflation[s, t0 + i]
    for k in range(beta.shape[0]):
        for i in range(size):
            beta[k, i] = draws.beta[s, k, t0 + i]
    return Block(features[t0:t1], base, phi, inflation, beta)


@kernel
def part_of(block, columns, route, which):  # type: ignore[no-untyped-def]
    """Some columns of a block; those whose `route` is not `which` with means of 0, so that they are settled at once."""
    size = columns.size
    features, base = np.empty(size, np.uint64), np.empty((block.base.shape[0], size), np.float64)
    phi, inflation = np.empty(size, np.float64), np.empty(size, np.float64)
    beta = np.empty((block.beta.shape[0], size), np.float64)
    for j in range(size):
        i = columns[j]
        features[j], phi[j], inflation[j] = block.features[i], block.phi[i], block.inflation[i]
        for c in range(base.shape[0]):
            base[c, j] = block.base[c, i] if route[i] == which else 0.0
        for k in range(beta.shape[0]):
            beta[k, j] = block.beta[k, i]
    return Block(features, base, phi, inflation, beta)
