"""Fill a slab of counts: addresses and parameters in, counts and the addresses of undecided ones out."""

from __future__ import annotations

import math

import numpy as np

from streamsample.kernels.columns import fill_column, table_shape
from streamsample.kernels.dense import LANES, ROWS
from streamsample.kernels.gamma import fill_gamma, suits
from streamsample.kernels.gamma_fit import LEAST_PHI
from streamsample.kernels.jit import announce_compilation, inlined, kernel
from streamsample.kernels.negbin import POISSON_PHI
from streamsample.kernels.rows import fill_narrow, fill_rows
from streamsample.kernels.waiting import WAITING, Unit, settle_waiting

BLOCK = 512  # features in work at once: words, tables of one bin and flags stay in L1
BRACKETS, COLUMN, GAMMA, SKEWED = 0, 1, 2, 3  # routes
ENTRIES_A_CELL = 2  # of a table: with more of them the other routes are faster
FEW = 3  # part of a block that has to pass the brackets for all of it to do so
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
        np.empty(ROWS * LANES), pending, found, plane[:, t0 : t0 + size],
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
    size, waiting = features.size, 0
    route, low, distance = np.empty(size, np.int64), np.empty(size), np.empty(size)
    rows, terms = np.empty(size, np.int64), np.empty(size, np.int64)
    choose(base, phi, layout.factor_range, 4 * quads.size, largest(plane), route, low, distance, rows, terms)
    some = bracketed(route, layout.edges.size)
    if some.size > 0:
        means = chosen(base, some, route, BRACKETS)
        waiting = fill_rows(
            unit, some, picked(features, some), means, picked(phi, some), quads, lanes, layout, plane, waiting
        )
        if positions(route, BRACKETS).size < size:  # 0s of other routes' columns must not come after their counts
            settle_waiting(unit, waiting)
            waiting = 0
    for which in range(GAMMA, SKEWED + 1):
        some = positions(route, which)
        if some.size > 0:
            means, skewed = chosen(base, some, route, which), which == SKEWED
            waiting = fill_gamma(
                unit, some, picked(features, some), means, picked(phi, some), skewed, quads, lanes, layout, waiting
            )
    for i in range(size):
        if route[i] == COLUMN:
            total = min(phi[i], POISSON_PHI)
            waiting = fill_column(
                unit, i, features[i], base, total, low[i], distance[i], rows[i], terms[i], quads, lanes, layout, waiting
            )
    settle_waiting(unit, waiting)


@kernel
def choose(base, phi, factor_range, ncells, limit, route, low, distance, rows, terms):  # type: ignore[no-untyped-def]
    """Choose each feature's route, and the shape of its table where it takes that of columns.

    factor_range: (C, 2) least and largest size factor of each group; route, low, distance, rows, terms: (L,), filled.
    """
    least, most = np.full(phi.size, math.inf), np.zeros(phi.size)  # means
    for c in range(base.shape[0]):
        a, b, means = factor_range[c, 0], factor_range[c, 1], base[c]
        if a <= b:  # the group has a cell
            for i in range(phi.size):
                least[i] = min(least[i], means[i] * a)
                most[i] = max(most[i], means[i] * b)
    for i in range(phi.size):
        total = min(phi[i], POISSON_PHI)
        rows[i], distance[i], terms[i] = table_shape(least[i], most[i], total, ncells, limit)
        low[i] = math.log(least[i]) if rows[i] > 0 else 0.0
        crowded = rows[i] == 0 or rows[i] * terms[i] > ENTRIES_A_CELL * ncells
        if crowded and suits(math.sqrt(least[i] * most[i]), total):
            route[i] = SKEWED if total < LEAST_PHI else GAMMA
        else:
            route[i] = COLUMN if rows[i] > 0 else BRACKETS


@kernel
def positions(route, which):  # type: ignore[no-untyped-def]
    """Where a route is taken."""
    some, count = np.empty(route.size, np.int64), 0
    for i in range(route.size):
        if route[i] == which:
            some[count] = i
            count += 1
    return some[:count]


@kernel
def bracketed(route, nedges):  # type: ignore[no-untyped-def]
    """The columns that pass the brackets: all where many have to, as whole rows are stored faster than parts."""
    some = positions(route, BRACKETS)
    if nedges > 0 and 0 < some.size < route.size and FEW * some.size >= route.size:
        return np.arange(route.size)
    return some


@kernel
def picked(values, columns):  # type: ignore[no-untyped-def]
    """Some of the values."""
    some = np.empty(columns.size, values.dtype)
    for i in range(columns.size):
        some[i] = values[columns[i]]
    return some


@kernel
def chosen(base, columns, route, which):  # type: ignore[no-untyped-def]
    """Some columns of the means, contiguous; 0 where another route is taken: such counts are settled at once, as 0."""
    some = np.empty((base.shape[0], columns.size))
    for c in range(base.shape[0]):
        for i in range(columns.size):
            some[c, i] = base[c, columns[i]] if route[columns[i]] == which else 0.0
    return some


@kernel
def largest(plane):  # type: ignore[no-untyped-def]
    """The largest count that can be stored."""
    return (np.int64(1) << (8 * plane.itemsize)) - 1


announce_compilation(fill_slab, "the kernel")
