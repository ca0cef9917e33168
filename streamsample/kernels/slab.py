"""Fill a slab of counts: addresses and parameters in, counts and the addresses of undecided ones out.

Each feature of a sample takes the route that suits its means. A route is compiled on its own, when it is first needed:
all of them take 25 s, that of small means alone 10.
"""

from __future__ import annotations

import math

import numpy as np

from streamsample.kernels.blocks import block_of, part_of
from streamsample.kernels.column_tables import table_shape, tabulate
from streamsample.kernels.columns import fill_column
from streamsample.kernels.gamma import LANES, SECOND, fill_gamma, fit_of, suits
from streamsample.kernels.gamma_fit import LEAST_PHI
from streamsample.kernels.jit import announce_compilation, kernel
from streamsample.kernels.means import mean_range
from streamsample.kernels.negbin import POISSON_PHI
from streamsample.kernels.rows import fill_narrow, fill_rows, tables
from streamsample.kernels.waiting import full, queue_of, settle_waiting

BLOCK = 512  # features in work at once: words, tables of one bin and flags stay in L1
BRACKETS, COLUMN, GAMMA, SKEWED = 0, 1, 2, 3  # routes
ENTRIES_A_CELL = 2  # of a table: with more of them the other routes are faster
FEW = 3  # part of a block that has to pass the brackets for all of it to do so
NARROW = 16  # fewer features are filled one after the other: 12 ns a count instead of 60


@kernel
def choose_routes(first, last, features, draws, layout, chunks, limit, route):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Choose the route of each feature in each sample, for blocks of features of all samples `first` to `last` - 1.

    features: (T,) uint64 indices into the posterior; draws: of these, `blocks.Draws`; layout: of the slab's cells,
    `bins.Layout`; chunks: units that share the cells; limit: the largest count that can be stored; route: (S, T) int8,
    filled.
    """
    least, most, scratch = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64), np.empty(SECOND, np.float64)
    for unit in range(first, last):
        s, t0, t1, _, _ = unit_at(unit, features.size, 0, 1)
        block = block_of(draws, s, features, t0, t1)
        mean_range(block.base, block.beta, layout, least, most)
        for i in range(t1 - t0):
            total = min(block.phi[i], POISSON_PHI)
            # Tables of columns know neither a design nor zero inflation.
            ncells = cells_of(layout, chunks) if block.beta.shape[0] == 0 and block.inflation[i] == 0.0 else 0
            rows, _, terms = table_shape(least[i], most[i], total, ncells, limit)
            crowded = rows == 0 or rows * terms > ENTRIES_A_CELL * ncells
            if crowded and suits(math.sqrt(least[i] * most[i]), total, scratch):
                route[s, t0 + i] = SKEWED if total < LEAST_PHI else GAMMA
            else:
                route[s, t0 + i] = COLUMN if rows > 0 else BRACKETS


@kernel
def fill_by_rows(first, last, samples, features, draws, route, layout, key, chunks, pending, found, out):  # type: ignore[no-untyped-def]
    """Fill the counts of features on the route BRACKETS, in a slab's units of work `first` to `last` - 1.

    Others may be filled with 0: this route comes before them.

    A unit is a sample, a block of features and one of `chunks` parts of the quads, in this order. samples: (S,) uint64
    indices into the posterior; features, draws, route, layout: as in `choose_routes`; key: (2,) uint64; pending:
    (units, capacity, 3) int64 and found: (units, FOUND), zeros at first, of each unit as in `waiting.Queue`;
    out: (S, N, T).
    """
    for unit in range(first, last):
        s, t0, t1, q0, q1 = unit_at(unit, features.size, layout.quads.size, chunks)
        quads, lanes, block = layout.quads[q0:q1], layout.lanes[q0:q1], block_of(draws, s, features, t0, t1)
        queue, j = queue_of(s, t0, pending[unit], found[unit]), np.int64(0)
        some = bracketed(route[s, t0:t1])
        part = part_of(block, some, route[s, t0:t1], np.int64(BRACKETS))
        table = tables(part, layout)
        while j < quads.size and some.size > 0:
            j = fill_rows(part, some, table, samples[s], key, quads, lanes, layout, out[s], t0, t1 - t0, queue, j)
            settle_waiting(queue, samples[s], key, out[s][:, t0:t1])


@kernel
def fill_by_feature(first, last, samples, features, draws, route, layout, key, chunks, pending, found, out):  # type: ignore[no-untyped-def]  # noqa: ARG001 -- one signature for all
    """Fill all counts of few features, feature by feature. Arguments as in `fill_by_rows`."""
    for unit in range(first, last):
        s, t0, t1, q0, q1 = unit_at(unit, features.size, layout.quads.size, chunks)
        quads, lanes, block = layout.quads[q0:q1], layout.lanes[q0:q1], block_of(draws, s, features, t0, t1)
        queue, table, counts = queue_of(s, t0, pending[unit], found[unit]), tables(block, layout), out[s][:, t0:t1]
        for i in range(t1 - t0):
            j = np.int64(0)
            while j < quads.size:
                j = fill_narrow(block, i, table, samples[s], key, quads, lanes, layout, counts, queue, j)
                if full(queue):
                    settle_waiting(queue, samples[s], key, counts)
        settle_waiting(queue, samples[s], key, counts)


@kernel
def fill_by_gamma(first, last, samples, features, draws, route, layout, key, chunks, pending, found, out):  # type: ignore[no-untyped-def]
    """Fill the counts of features on the routes GAMMA and SKEWED. Arguments as in `fill_by_rows`."""
    for unit in range(first, last):
        s, t0, t1, q0, q1 = unit_at(unit, features.size, layout.quads.size, chunks)
        quads, lanes, block = layout.quads[q0:q1], layout.lanes[q0:q1], block_of(draws, s, features, t0, t1)
        queue, counts = queue_of(s, t0, pending[unit], found[unit]), out[s][:, t0:t1]
        for which in range(GAMMA, SKEWED + 1):
            every, skewed = positions(route[s, t0:t1], which), which == SKEWED
            for i in range(0, every.size, LANES):
                some, j = every[i : i + LANES], np.int64(0)
                part = part_of(block, some, route[s, t0:t1], which)
                w = fit_of(part, skewed)
                while j < quads.size:
                    j = fill_gamma(part, some, w, skewed, samples[s], key, quads, lanes, layout, counts, queue, j)
                    if full(queue):
                        settle_waiting(queue, samples[s], key, counts)
        settle_waiting(queue, samples[s], key, counts)


@kernel
def fill_by_columns(first, last, samples, features, draws, route, layout, key, chunks, pending, found, out):  # type: ignore[no-untyped-def]
    """Fill the counts of features on the route COLUMN. Arguments as in `fill_by_rows`."""
    least, most = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64)
    limit = (np.int64(1) << (8 * out.itemsize)) - 1
    for unit in range(first, last):
        s, t0, t1, q0, q1 = unit_at(unit, features.size, layout.quads.size, chunks)
        quads, lanes, block = layout.quads[q0:q1], layout.lanes[q0:q1], block_of(draws, s, features, t0, t1)
        queue, counts = queue_of(s, t0, pending[unit], found[unit]), out[s][:, t0:t1]
        mean_range(block.base, block.beta, layout, least, most)
        for i in range(t1 - t0):
            if route[s, t0 + i] == COLUMN:
                column, j = tabulate(block, i, least[i], most[i], cells_of(layout, chunks), limit), np.int64(0)
                while j < quads.size:
                    j = fill_column(block, i, column, samples[s], key, quads, lanes, layout, counts, queue, j)
                    if full(queue):
                        settle_waiting(queue, samples[s], key, counts)
        settle_waiting(queue, samples[s], key, counts)


@kernel
def unit_at(unit, nfeatures, nquads, chunks):  # type: ignore[no-untyped-def]
    """Where a unit of work is: its sample, and its ranges of features and quads."""
    blocks = (nfeatures + BLOCK - 1) // BLOCK
    s, t0, part = unit // (blocks * chunks), unit // chunks % blocks * BLOCK, unit % chunks
    return s, t0, min(t0 + BLOCK, nfeatures), nquads * part // chunks, nquads * (part + 1) // chunks


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
def bracketed(route):  # type: ignore[no-untyped-def]
    """The columns that pass the brackets: all where many have to, as whole rows are stored faster than parts."""
    some = positions(route, np.int64(BRACKETS))
    if 0 < some.size < route.size and FEW * some.size >= route.size:
        some = np.empty(route.size, np.int64)
        for i in range(route.size):
            some[i] = i
    return some


@kernel
def cells_of(layout, chunks):  # type: ignore[no-untyped-def]
    """How many cells a unit has, about: the same for all of them, on which the shape of tables rests."""
    return 4 * layout.quads.size // chunks


for _route, _what in (
    (fill_by_rows, "small means"),
    (fill_by_columns, "middling means"),
    (fill_by_gamma, "large means"),
    (fill_by_feature, "single features"),
):
    announce_compilation(_route, f"the kernel of {_what}")
