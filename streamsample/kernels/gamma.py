"""Tier 1 for large means: the quantile of the gamma distribution, and an expansion from there to the counts.

Let w be the quantile of Gamma(phi) at u, ``L = log1p(phi / m)``, ``n = w / L`` and N that positive number for which
``a = N - (phi - 1)/2`` solves ``I_p(phi, a) = u``; then ``y = ceil(a - 1)``. Wise's expansion has even powers only:

    N = n (1 + B1(w)/n**2 + B2(w)/n**4 + B3(w)/n**6 + ...)

`docs/kernel.md` derives it. A count is certain where ``a - 1`` stays clear of whole numbers by the bound given there.
w comes from one of two fits: of its cube root, or for phi below LEAST_PHI of its logarithm.
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.elementary import exp, log, log1p
from streamsample.kernels.gamma_fit import (
    LARGEST_DEPTH,
    LARGEST_Z,
    LEAST_PHI,
    QUANTILE,
    SKEWED,
    SKEWED_PHI,
    SKEWED_Z,
    SLOPE,
)
from streamsample.kernels.jit import inlined, kernel
from streamsample.kernels.philox import fill_words
from streamsample.kernels.waiting import PLANE_0, PLANE_1, WAITING, settle_waiting, wait

LEAST_MEAN = 16.0  # below, sums from 0 are faster (few_cells: 6 is 5 % slower, 40 no faster)
LEAST_SKEWED_MEAN = 12.0  # likewise (96 cells, phi 0.3: mean 12 as fast as sums, 24 twice, 48 four times)
LEAST = 6.0  # smaller counts are not told: for them the expansion's rest may be larger
MOST_DOUBT = 0.03  # bound of the expansion at the median; larger: not for this route
FIT = 3e-9  # above the error of the cube root of w / phi (1.3e-9 measured)
FIT_SKEWED = 2.5e-8  # above that of log(w) for phi below LEAST_PHI (9.8e-9 measured)
SHARE = 0.15  # of the last power taken, with its coefficients' absolute values; the rest is below 0.07 (measured)
ROUNDING = 1e-12  # relative to N
ROWS = SKEWED.shape[0] + 2  # of coefficients
POWERS = 12  # coefficients of B1, B2 and B3
SCRATCH = 8
LANES = 512  # counts in work at once
ROOT_SCALE = 2.0 * LEAST_PHI**0.5
SKEWED_MIDDLE = 0.5 * (LEAST_PHI**0.5 + SKEWED_PHI**0.5)
SKEWED_SCALE = 2.0 / (LEAST_PHI**0.5 - SKEWED_PHI**0.5)
DEPTH_SCALE = 2.0 / LARGEST_DEPTH


@kernel
def fill_powers(phi, powers):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Coefficients of powers of w, for each phi: B1 descending, then B2, then B3; powers: (POWERS, >= L)."""
    for i in range(phi.size):
        p = phi[i]
        f = p - 1.0
        powers[0, i] = f / 24.0
        powers[1, i] = f * (p + 1.0) / 24.0
        powers[2, i] = -f / 2880.0
        powers[3, i] = -f * (p + 3.0) / 2880.0
        powers[4, i] = -f * (7.0 * p * p + 17.0) / 5760.0
        powers[5, i] = f * (p - 3.0) * (p + 1.0) * (p + 3.0) / 1920.0
        powers[6, i] = f / 181440.0
        powers[7, i] = f * (p + 5.0) / 181440.0
        powers[8, i] = f * (p * (29.0 * p - 12.0) + 223.0) / 1451520.0
        powers[9, i] = f * (p * (p * (16.0 * p - 11.0) - 4.0) + 239.0) / 362880.0
        powers[10, i] = -f * (p * p * (187.0 * p * p - 590.0) - 5357.0) / 2903040.0
        powers[11, i] = f * (p - 5.0) * (p + 1.0) * (p + 5.0) * (13.0 * p * p - 61.0) / 580608.0


@kernel
def suits(mean, phi):  # type: ignore[no-untyped-def]
    """Whether the expansion tells most counts of a feature whose means are around `mean`."""
    if phi < LEAST_PHI:  # what is left out vanishes with phi - 1: below 1e-8, from counts of 6 up
        return mean >= LEAST_SKEWED_MEAN and phi >= SKEWED_PHI
    if not (mean >= LEAST_MEAN and phi <= 1e8):
        return False
    powers = np.empty((POWERS, 1))
    fill_powers(np.full(1, phi), powers)
    total = 0.0
    for j in range(6, POWERS):
        total = total * phi + abs(powers[j, 0])
    return SHARE * total < MOST_DOUBT * (phi / np.log1p(phi / mean)) ** 5


@kernel
def fill_quantiles(phi, skewed, coefficients):  # type: ignore[no-untyped-def]
    """Coefficients of the fit of w as powers of a variable x, and those of x in z.

    phi: (L,) on one side of LEAST_PHI: below if `skewed`; coefficients: (ROWS, >= L), the first two rows for
    ``x = z * step + start``, which lies between -1 and 1 where the fit holds.
    """
    step, start = coefficients[0], coefficients[1]
    fit = SKEWED if skewed else QUANTILE
    for i in range(phi.size):
        root = np.sqrt(phi[i])
        low = SKEWED_Z[0] + root * (SKEWED_Z[1] + root * SKEWED_Z[2]) if skewed else -LARGEST_Z
        step[i] = 2.0 / (LARGEST_Z - low)
        start[i] = 1.0 - LARGEST_Z * step[i]
    for k in range(fit.shape[0]):
        row = coefficients[k + 2]
        for i in range(phi.size):
            root = np.sqrt(phi[i])
            x = (root - SKEWED_MIDDLE) * SKEWED_SCALE if skewed else ROOT_SCALE / root - 1.0
            total = fit[k, fit.shape[1] - 1]
            for j in range(fit.shape[1] - 2, -1, -1):
                total = total * x + fit[k, j]
            row[i] = total


@inlined
def fill_gamma(unit, columns, features, base, phi, skewed, quads, lanes, layout, waiting):  # type: ignore[no-untyped-def]
    """Fill some columns of a block; returns how many counts wait.

    columns: (L,) their positions within the block; features: (L,); base: (C, L) means at size factor 1; phi: (L,),
    all on one side of LEAST_PHI, below if `skewed`; quads: (Q,), lanes: (Q, 4) of the unit's cells.
    """
    size = columns.size
    cells = max(1, LANES // size)  # worked on together, so that loops are long
    phis = np.empty(cells * size)
    coefficients, powers = np.empty((ROWS, cells * size)), np.empty((POWERS, cells * size))
    for i in range(phis.size):
        phis[i] = phi[i % size]
    fill_quantiles(phis, skewed, coefficients)
    fill_powers(phis, powers)
    words = np.empty((2, 4, size), np.uint32)
    hi, lo = np.empty(phis.size, np.uint32), np.empty(phis.size, np.uint32)
    means, work = np.empty(phis.size), np.empty((SCRATCH, phis.size))
    places = np.empty((3, cells), np.int64)  # row, quad and lane of each cell in work
    limit = np.float64((np.int64(1) << (8 * unit.out.itemsize)) - 1)
    filled = 0
    for j in range(quads.size):
        fill_words(features, quads[j], unit.sample, PLANE_0, unit.key[0], unit.key[1], words[0])
        fill_words(features, quads[j], unit.sample, PLANE_1, unit.key[0], unit.key[1], words[1])
        for lane in range(4):
            n = lanes[j, lane]
            if n >= 0:
                places[0, filled], places[1, filled], places[2, filled] = n, j, lane
                a, b = filled * size, (filled + 1) * size
                hi[a:b], lo[a:b] = words[0, lane], words[1, lane]
                scale(base[layout.group[n]], layout.size_factor[n], means[a:b])
                filled += 1
            if filled == cells or (filled > 0 and j + 1 == quads.size and lane == 3):
                b = filled * size
                settle_lanes(hi[:b], lo[:b], means[:b], phis, skewed, coefficients, powers, limit, work)
                for i in range(filled):
                    a, b = i * size, (i + 1) * size
                    waiting = land(
                        unit, places[0, i], quads[places[1, i]], places[2, i], columns, features, phi, hi[a:b],
                        means[a:b], work[0, a:b], waiting,
                    )  # fmt: skip
                filled = 0
    return waiting


@kernel
def scale(base, factor, means):  # type: ignore[no-untyped-def]
    """Means of one cell."""
    for i in range(base.size):
        means[i] = base[i] * factor


@kernel
def land(unit, n, quad, lane, columns, features, phi, hi, means, y, waiting):  # type: ignore[no-untyped-def]
    """Store the settled counts of one cell, and let the others wait; returns how many wait."""
    if waiting > WAITING - columns.size:
        settle_waiting(unit, waiting)
        waiting = 0
    row = unit.out[n]
    for i in range(columns.size):
        if y[i] >= 0.0:
            row[columns[i]] = np.int64(y[i])
        else:
            waiting = wait(unit, waiting, n, columns[i], features[i], quad, lane, hi[i], means[i], phi[i])
    return waiting


@kernel
def settle_lanes(hi, lo, means, phi, skewed, coefficients, powers, limit, work):  # type: ignore[no-untyped-def]
    """Settle counts in SIMD lanes; the count where it is certain, else -1, to row 0 of `work`."""
    normal_quantile(hi, lo, work)
    gamma_quantile(phi, skewed, coefficients, work)
    expand(means, phi, powers, work)
    settle(work[0][: hi.size], work[1], limit)


@kernel
def normal_quantile(hi, lo, work):  # type: ignore[no-untyped-def]
    """To row 0 of `work` z, and to row 1 the depth ``-log(4 u (1 - u))`` to row 1."""
    z, depth, y = work[0], work[1], work[2]
    for i in range(hi.size):
        whole = (np.uint64(hi[i]) << np.uint64(20)) | (np.uint64(lo[i]) >> np.uint64(12))
        z[i] = (np.float64(whole) + 0.5) * 2.0**-52
    for i in range(hi.size):
        depth[i] = -log(4.0 * z[i] * (1.0 - z[i]))
        y[i] = 2.0 * z[i] - 1.0
    for i in range(hi.size):
        x = DEPTH_SCALE * depth[i] - 1.0
        total = SLOPE[SLOPE.size - 1]
        for k in range(SLOPE.size - 2, -1, -1):
            total = total * x + SLOPE[k]
        z[i] = y[i] * total


@kernel
def gamma_quantile(phi, skewed, coefficients, work):  # type: ignore[no-untyped-def]
    """To row 3 of `work` w, and to row 1 a bound of its error: infinite where z is out of the fit's range."""
    z, spread, x, w = work[0], work[1], work[2], work[3]
    size, last = phi.size, (SKEWED if skewed else QUANTILE).shape[0] + 1
    step, start, top = coefficients[0], coefficients[1], coefficients[last]
    for i in range(size):
        x[i] = z[i] * step[i] + start[i]
        inside = (spread[i] < LARGEST_DEPTH) & (abs(x[i]) <= 1.0)
        spread[i] = 0.0 if inside else np.inf
        x[i] = x[i] if inside else 0.0  # exp stays in its domain
    for i in range(size):
        w[i] = top[i]
    for k in range(last - 1, 1, -1):
        row = coefficients[k]
        for i in range(size):
            w[i] = w[i] * x[i] + row[i]
    if skewed:
        for i in range(size):
            w[i] = exp(w[i] / phi[i])
            spread[i] += FIT_SKEWED * w[i]
    else:
        for i in range(size):
            spread[i] += 3.3 * FIT * phi[i] * w[i] * w[i]
            w[i] = phi[i] * w[i] * w[i] * w[i]


@kernel
def expand(means, phi, powers, work):  # type: ignore[no-untyped-def]
    """``a - 1`` to row 0, and the bound of its error to row 1, from w and the bound of its own."""
    z, spread, root, w, n, h, last = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    size = means.size
    for i in range(size):
        n[i] = 1.0 / log1p(phi[i] / means[i])
    for i in range(size):
        spread[i] *= n[i]
        n[i] *= w[i]
        h[i] = 1.0 / (n[i] * n[i])
    series(powers[6:], w, z, last)
    for i in range(size):
        scale = n[i] * h[i] * h[i] * h[i]
        spread[i] += SHARE * scale * last[i] + ROUNDING * n[i]
        z[i] *= scale
    p0, p1 = powers[0], powers[1]
    for i in range(size):
        z[i] += n[i] * h[i] * (p0[i] * w[i] + p1[i])
    p2, p3, p4, p5 = powers[2], powers[3], powers[4], powers[5]
    for i in range(size):
        root[i] = p5[i] + w[i] * (p4[i] + w[i] * (p3[i] + w[i] * p2[i]))
    for i in range(size):
        z[i] = n[i] + (z[i] + n[i] * h[i] * h[i] * root[i]) - 0.5 * (phi[i] + 1.0)


@kernel
def series(powers, w, total, largest):  # type: ignore[no-untyped-def]
    """B3, and the same with the absolute values of its coefficients."""
    for i in range(w.size):
        total[i] = 0.0
        largest[i] = 0.0
    for k in range(6):
        row = powers[k]
        for i in range(w.size):
            total[i] = total[i] * w[i] + row[i]
        for i in range(w.size):
            largest[i] = largest[i] * w[i] + abs(row[i])


@kernel
def settle(x, spread, limit):  # type: ignore[no-untyped-def]
    """Round up what is certain; -1 elsewhere."""
    for i in range(x.size):
        y = np.ceil(x[i])
        sure = (y - x[i] > spread[i]) & (x[i] - (y - 1.0) > spread[i]) & (x[i] > LEAST) & (y <= limit)
        x[i] = y if sure else -1.0
