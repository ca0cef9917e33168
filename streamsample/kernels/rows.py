"""The route of small means: a cell at a time, over many features, by brackets and what they leave."""

from __future__ import annotations

import numpy as np

from streamsample.kernels.brackets import LEVELS, bracket, classify, fill_brackets
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.philox import fill_words, uniform, word_of, words_at
from streamsample.kernels.waiting import PLANE_0, PLANE_1, WAITING, settle_one, settle_waiting, wait


@inlined
def fill_rows(unit, columns, features, base, phi, quads, lanes, layout, plane, waiting):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Fill some columns of a block; returns how many counts wait.

    columns: (L,) their positions within the block; features: (L,); base: (C, L) means at size factor 1; phi: (L,);
    quads: (Q,), lanes: (Q, 4) of the unit's cells; plane: (N, T).
    """
    size = columns.size
    sure, over = tables(base, phi, layout)
    whole = size == unit.out.shape[1]
    words = np.empty((4, size), np.uint32)
    doubt = np.ones(size, np.uint8)
    some = np.empty(size, plane.dtype)
    for j in range(quads.size):
        fill_words(features, quads[j], unit.sample, PLANE_0, unit.key[0], unit.key[1], words)
        for lane in range(4):
            n = lanes[j, lane]
            if n < 0:
                continue
            if layout.edges.size > 0:
                low = layout.low_edge[n]
                # Not unit.out[n]: Numba knows that this is contiguous, and LLVM then stores whole vectors.
                row = plane[n][unit.t0 : unit.t0 + size] if whole else some
                classify(words[lane], over[low], sure[low + 1], row, doubt)
                if not whole:
                    scatter(some, columns, plane[n][unit.t0 :])
            if waiting > WAITING - size:
                settle_waiting(unit, waiting)
                waiting = 0
            waiting = collect(
                unit, n, lane, quads[j], columns, features, words[lane], base[layout.group[n]], phi,
                layout.size_factor[n], doubt, waiting,
            )  # fmt: skip
    return waiting


@kernel
def tables(base, phi, layout):  # type: ignore[no-untyped-def]
    """Brackets at all edges of all groups: two of (E, LEVELS, L) uint32."""
    edges, starts = layout.edges, layout.starts
    sure = np.empty((edges.size, LEVELS, phi.size), np.uint32)
    over = np.empty((edges.size, LEVELS, phi.size), np.uint32)
    work = np.empty((4, phi.size))
    for c in range(starts.size - 1):
        a, b = starts[c], starts[c + 1]
        fill_brackets(base[c], phi, edges[a:b], work, sure[a:b], over[a:b])
    return sure, over


@kernel
def scatter(counts, columns, row):  # type: ignore[no-untyped-def]
    """Put counts into their columns of a row."""
    for i in range(columns.size):
        row[columns[i]] = counts[i]


@kernel
def collect(unit, n, lane, quad, columns, features, words, base, phi, factor, doubt, waiting):  # type: ignore[no-untyped-def]
    """Let the doubtful counts of one cell wait; returns how many wait."""
    for i in range(columns.size):
        if doubt[i] != 0:
            waiting = wait(unit, waiting, n, columns[i], features[i], quad, lane, words[i], base[i] * factor, phi[i])
    return waiting


@inlined
def fill_narrow(unit, features, base, phi, quads, lanes, layout):  # type: ignore[no-untyped-def]
    """Fill a block of a few features, feature by feature: the loops over features would be too short to pay."""
    sure, over = tables(base, phi, layout)
    key, sample, out = unit.key, unit.sample, unit.out
    for i in range(features.size):
        for j in range(quads.size):
            words = words_at(features[i], quads[j], sample, PLANE_0, key)
            for lane in range(4):
                n = lanes[j, lane]
                if n < 0:
                    continue
                hi = word_of(words, lane)
                least, most = 0, LEVELS
                if over.shape[0] > 0:
                    low = layout.low_edge[n]
                    least, most = bracket(hi, over[low], sure[low + 1], i)
                if least == most and most < LEVELS:
                    out[n, i] = least
                else:
                    lo = word_of(words_at(features[i], quads[j], sample, PLANE_1, key), lane)
                    m = base[layout.group[n], i] * layout.size_factor[n]
                    out[n, i] = settle_one(unit, n, i, m, phi[i], uniform(hi, lo))
