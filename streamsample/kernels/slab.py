"""Fill a slab of counts: addresses and parameters in, counts and the addresses of undecided ones out."""

from __future__ import annotations

import math

import numpy as np

from streamsample.kernels.columns import fill_column, table_shape
from streamsample.kernels.gamma import fill_gamma, suits
from streamsample.kernels.jit import announce_compilation, inlined, kernel
from streamsample.kernels.negbin import POISSON_PHI
from streamsample.kernels.rows import fill_narrow, fill_rows
from streamsample.kernels.waiting import WAITING, WAITING_ROWS, Unit, settle_waiting

BLOCK = 512  # features in work at once: words, tables of one bin and flags stay in L1
NARROW = 16  # fewer features are filled one after the other: 12 ns a count instead of 60


@kernel
def fill_slab(first, last, samples, features, mu, phi, alpha, layout, key, chunks, pending, found, out):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Fill a slab's units of work `first` to `last` - 1 of ``out[S, N, T]``, and note what is left for tier 3.

    A unit is a sample, a block of features and one of `chunks` parts of the quads, in this order.
    samples: (S,), features: (T,) uint64 indices into the posterior; mu, phi: (S, T); alpha: (S, C, T) float64;
    layout: of the slab's cells, `bins.Layout`; key: (2,) uint64.
    pending: (units, capacity, 3) int64 positions (s, n, t) of counts that are undecided or do not fit `out`;
    found: (units, 3) zeros, to which are added how many those are, how many counts waited for SIMD lanes, and how many
    went on to tier 2.
    """
    blocks = (features.size + BLOCK - 1) // BLOCK
    for unit in range(first, last):
        s = unit // (blocks * chunks)
        t0 = (unit // chunks) % blocks * BLOCK
        t1 = min(t0 + BLOCK, features.size)
        q0 = layout.quads.size * (unit % chunks) // chunks
        q1 = layout.quads.size * (unit % chunks + 1) // chunks
        fill_unit(
            s, t0, samples[s], features[t0:t1], mu[s, t0:t1], phi[s, t0:t1], alpha[s, :, t0:t1],
            layout.quads[q0:q1], layout.lanes[q0:q1], layout, key, pending[unit], found[unit], out[s],
        )  # fmt: skip


@inlined
def fill_unit(s, t0, sample, features, mu, phi, alpha, quads, lanes, layout, key, pending, found, plane):  # type: ignore[no-untyped-def]
    """Fill one sample, one block of features and a run of quads.

    plane: (N, T) the sample's counts in the slab.
    """
    size = features.size
    unit = Unit(
        s, t0, sample, key, np.empty((2, WAITING), np.int64), np.empty((4, WAITING), np.uint64),
        np.empty((WAITING_ROWS, WAITING)), pending, found, plane[:, t0 : t0 + size],
    )  # fmt: skip
    base = np.empty((alpha.shape[0], size))
    for c in range(alpha.shape[0]):
        for i in range(size):
            base[c, i] = mu[i] * alpha[c, i]
    if size < NARROW:
        fill_narrow(unit, features, base, phi, quads, lanes, layout)
    else:
        fill_wide(unit, features, base, phi, quads, lanes, layout, plane)


@inlined
def fill_wide(unit, features, base, phi, quads, lanes, layout, plane):  # type: ignore[no-untyped-def]
    """Fill a block of features, each by the route that suits it."""
    waiting = 0
    size = features.size
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    nsmall, nlarge = 0, 0
    for i in range(size):
        low, high = log_means(base, i, layout)
        total = min(phi[i], POISSON_PHI)
        rows, distance, terms = table_shape(low, high, total, 4 * quads.size, largest(plane))
        if rows > 0:
            waiting = fill_column(
                unit, i, features[i], base, total, low, distance, rows, terms, quads, lanes, layout, waiting
            )  # fmt: skip
        elif suits(math.exp(low), total):
            large[nlarge] = i
            nlarge += 1
        else:
            small[nsmall] = i
            nsmall += 1
    if nlarge > 0:
        some = large[:nlarge]
        waiting = fill_gamma(
            unit, some, picked(features, some), chosen(base, some), picked(phi, some), quads, lanes, layout, waiting
        )
    if nsmall > 0:
        some = small[:nsmall]
        waiting = fill_rows(
            unit, some, picked(features, some), chosen(base, some), picked(phi, some), quads, lanes, layout, plane,
            waiting,
        )  # fmt: skip
    settle_waiting(unit, waiting)


@kernel
def picked(values, columns):  # type: ignore[no-untyped-def]
    """Some of the values."""
    some = np.empty(columns.size, values.dtype)
    for i in range(columns.size):
        some[i] = values[columns[i]]
    return some


@kernel
def chosen(base, columns):  # type: ignore[no-untyped-def]
    """Some columns of the means, contiguous."""
    some = np.empty((base.shape[0], columns.size))
    for c in range(base.shape[0]):
        some[c] = picked(base[c], columns)
    return some


@kernel
def largest(plane):  # type: ignore[no-untyped-def]
    """The largest count that can be stored."""
    return (np.int64(1) << (8 * plane.itemsize)) - 1


@kernel
def log_means(base, i, layout):  # type: ignore[no-untyped-def]
    """Least and largest logarithm of a feature's means."""
    low, high = math.inf, -math.inf
    for c in range(base.shape[0]):
        x = math.log(base[c, i])
        low = min(low, x + layout.log_range[c, 0])
        high = max(high, x + layout.log_range[c, 2])
    return low, high


announce_compilation(fill_slab, "the kernel")
