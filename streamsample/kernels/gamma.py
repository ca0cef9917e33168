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
from streamsample.kernels.means import LARGEST_MEAN, fill_means
from streamsample.kernels.philox import fill_words
from streamsample.kernels.waiting import PLANE_0, PLANE_1, full, leave_outside, wait

LEAST_MEAN = 16.0  # below, sums from 0 are faster (few_cells: 6 is 5 % slower, 40 no faster)
LEAST_SKEWED_MEAN = 12.0  # likewise (96 cells, phi 0.3: mean 12 as fast as sums, 24 twice, 48 four times)
LEAST = 6.0  # smaller counts are not told: for them the expansion's rest may be larger
MOST_DOUBT = 0.03  # bound of the expansion at the median; larger: not for this route
FIT = 3e-9  # above the error of the cube root of w / phi (1.3e-9 measured)
FIT_SKEWED = 2.5e-8  # above that of log(w) for phi below LEAST_PHI (9.8e-9 measured)
SHARE = 0.15  # of the last power taken, with its coefficients' absolute values; the rest is below 0.07 (measured)
ROUNDING = 1e-12  # relative to N
SMALLEST_V = 1e-30
POWERS = 12  # coefficients of B1, B2 and B3
LANES = 96  # counts in work at once
# All of a lane's numbers are in one array at constant distances, as in `dense`. It stays in L1: as arrays of their own,
# 512 lanes at a time, a count took 14 ns instead of 5.
STRIDE = LANES + 8
PHI, PI, STEP, START, M, Z, SPREAD, X, G, N, H, FIRST = (STRIDE * i for i in range(12))
THIRD, SECOND = FIRST + 6 * STRIDE, FIRST + POWERS * STRIDE  # rows of B3's coefficients, and of the fit's
SIZE = SECOND + max(SKEWED.shape[0], QUANTILE.shape[0]) * STRIDE
NSLOPE = SLOPE.size
ROOT_SCALE = 2.0 * LEAST_PHI**0.5
SKEWED_MIDDLE = 0.5 * (LEAST_PHI**0.5 + SKEWED_PHI**0.5)
SKEWED_SCALE = 2.0 / (LEAST_PHI**0.5 - SKEWED_PHI**0.5)
DEPTH_SCALE = 2.0 / LARGEST_DEPTH


@kernel
def fill_powers(w, size):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Coefficients of powers of w: those of B1 descending, then of B2, then of B3, from PHI."""
    for i in range(size):
        p = w[PHI + i]
        f = p - 1.0
        w[FIRST + i] = f / 24.0
        w[FIRST + STRIDE + i] = f * (p + 1.0) / 24.0
        w[FIRST + 2 * STRIDE + i] = -f / 2880.0
        w[FIRST + 3 * STRIDE + i] = -f * (p + 3.0) / 2880.0
        w[FIRST + 4 * STRIDE + i] = -f * (7.0 * p * p + 17.0) / 5760.0
        w[FIRST + 5 * STRIDE + i] = f * (p - 3.0) * (p + 1.0) * (p + 3.0) / 1920.0
        w[FIRST + 6 * STRIDE + i] = f / 181440.0
        w[FIRST + 7 * STRIDE + i] = f * (p + 5.0) / 181440.0
        w[FIRST + 8 * STRIDE + i] = f * (p * (29.0 * p - 12.0) + 223.0) / 1451520.0
        w[FIRST + 9 * STRIDE + i] = f * (p * (p * (16.0 * p - 11.0) - 4.0) + 239.0) / 362880.0
        w[FIRST + 10 * STRIDE + i] = -f * (p * p * (187.0 * p * p - 590.0) - 5357.0) / 2903040.0
        w[FIRST + 11 * STRIDE + i] = f * (p - 5.0) * (p + 1.0) * (p + 5.0) * (13.0 * p * p - 61.0) / 580608.0


@kernel
def suits(mean, phi, w):  # type: ignore[no-untyped-def]
    """Whether the expansion tells most counts of a feature whose means are around `mean`; w: (>= SECOND,) scratch."""
    if phi < LEAST_PHI:  # what is left out vanishes with phi - 1: below 1e-8, from counts of 6 up
        return mean >= LEAST_SKEWED_MEAN and phi >= SKEWED_PHI
    if not (mean >= LEAST_MEAN and phi <= 1e8):
        return False
    w[PHI] = phi
    fill_powers(w, 1)
    total = 0.0
    for j in range(6, POWERS):
        total = total * phi + abs(w[FIRST + STRIDE * j])
    return SHARE * total < MOST_DOUBT * (phi / np.log1p(phi / mean)) ** 5


@kernel
def fill_quantiles(w, size, skewed):  # type: ignore[no-untyped-def]
    """Coefficients of the fit of w as powers of a variable x, descending, and those of x in z.

    All of PHI are on one side of LEAST_PHI: below if `skewed`. ``x = z * STEP + START`` lies between -1 and 1 where the
    fit holds.
    """
    fit = SKEWED if skewed else QUANTILE
    for i in range(size):
        root = np.sqrt(w[PHI + i])
        low = SKEWED_Z[0] + root * (SKEWED_Z[1] + root * SKEWED_Z[2]) if skewed else -LARGEST_Z
        w[STEP + i] = 2.0 / (LARGEST_Z - low)
        w[START + i] = 1.0 - LARGEST_Z * w[STEP + i]
        w[X + i] = (root - SKEWED_MIDDLE) * SKEWED_SCALE if skewed else ROOT_SCALE / root - 1.0
    for k in range(fit.shape[0]):
        row = SECOND + (fit.shape[0] - 1 - k) * STRIDE
        for i in range(size):
            total = fit[k, fit.shape[1] - 1]
            for j in range(fit.shape[1] - 2, -1, -1):
                total = total * w[X + i] + fit[k, j]
            w[row + i] = total


@kernel
def fit_of(block, skewed):  # type: ignore[no-untyped-def]
    """What a block of at most LANES features needs, whose phi lie on one side of LEAST_PHI, below if `skewed`.

    The features are repeated for as many cells as are in work at once, so that loops are long.
    """
    w, size = np.empty(SIZE, np.float64), block.phi.size
    used = LANES // size * size
    for i in range(used):
        w[PHI + i], w[PI + i] = block.phi[i % size], block.inflation[i % size]
    fill_quantiles(w, used, skewed)
    fill_powers(w, used)
    return w


@kernel
def fill_gamma(block, columns, w, skewed, sample, key, quads, lanes, layout, out, queue, first):  # type: ignore[no-untyped-def]
    """Fill some columns of a block from quad `first` on, until the queue is full; returns where to go on.

    block: of these columns, at most LANES; columns: (L,) their positions within the unit's block; w, skewed: of
    `fit_of`; quads: (Q,), lanes: (Q, 4) of the unit's cells; out: (N, L') counts of the unit's block.
    """
    size = columns.size
    cells = LANES // size
    words = np.empty((2, 4, size), np.uint32)
    hi, lo = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    places = np.empty((3, cells), np.int64)  # row, quad and lane of each cell in work
    limit = np.float64((np.int64(1) << (8 * out.itemsize)) - 1)
    filled, j, stop = 0, first, False
    while not stop:
        fill_words(block.features, quads[j], sample, PLANE_0, key[0], key[1], words[0])
        fill_words(block.features, quads[j], sample, PLANE_1, key[0], key[1], words[1])
        j += 1
        stop = j == quads.size or full(queue)
        for lane in range(4):
            n = lanes[j - 1, lane]
            if n >= 0:
                places[0, filled], places[1, filled], places[2, filled] = n, quads[j - 1], lane
                a, b = filled * size, (filled + 1) * size
                copy_words(words[:, lane], hi[a:b], lo[a:b])
                means = w[M + a : M + b]
                if fill_means(block.base, block.beta, layout, n, means) > 0:
                    leave_outside(queue, means, LARGEST_MEAN)
                filled += 1
            if filled == cells or (filled > 0 and stop and lane == 3):
                settle_lanes(hi, lo, w, filled * size, skewed, limit)
                land(block, columns, places[:, :filled], hi, w, out, queue)
                filled = 0
    return j


@kernel
def copy_words(words, hi, lo):  # type: ignore[no-untyped-def]
    """Copy the two words of each count of a cell; for a slice's assignment Numba compiles its error's text, for 2 s."""
    for i in range(hi.size):
        hi[i], lo[i] = words[0, i], words[1, i]


@kernel
def land(block, columns, places, hi, w, out, queue):  # type: ignore[no-untyped-def]
    """Store the settled counts of some cells, and let the others wait. places: (3, cells) row, quad and lane."""
    for cell in range(places.shape[1]):
        n, start = places[0, cell], cell * columns.size
        row = out[n]
        for i in range(columns.size):
            k = start + i
            if w[Z + k] >= 0.0:
                row[columns[i]] = np.int64(w[Z + k])
            else:
                wait(
                    queue, n, columns[i], block.features[i], places[1, cell], places[2, cell], hi[k], w[M + k],
                    block.phi[i], block.inflation[i],
                )  # fmt: skip


@kernel
def settle_lanes(hi, lo, w, size, skewed, limit):  # type: ignore[no-untyped-def]
    """Settle counts in SIMD lanes; the count where it is certain, else -1, to Z."""
    normal_quantile(hi, lo, w, size)
    if skewed:
        skewed_quantile(w, size)
    else:
        gamma_quantile(w, size)
    expand(w, size)
    settle(w, size, limit)


@kernel
def settle(w, size, limit):  # type: ignore[no-untyped-def]
    """Round up what is certain; -1 elsewhere."""
    for i in range(size):
        x, spread = w[Z + i], w[SPREAD + i]
        y = np.ceil(x)
        sure = (y - x > spread) & (x - (y - 1.0) > spread) & (x > LEAST) & (y <= limit)
        w[Z + i] = y if sure else -1.0


@kernel
def normal_quantile(hi, lo, w, size):  # type: ignore[no-untyped-def]
    """To X the variable of the fit of w, and to SPREAD 0, or infinity where z is out of its range.

    z comes from the depth ``-log(4 v (1 - v))``; v as in `negbin.split`. Where v is next to 0, or below it, the depth
    is beyond every fit. Elsewhere the error of v moves z by less than 1e-12.
    """
    for i in range(size):
        whole = (np.uint64(hi[i]) << np.uint64(20)) | (np.uint64(lo[i]) >> np.uint64(12))
        u = (np.float64(whole) + 0.5) * 2.0**-52
        v = (u - w[PI + i]) / (1.0 - w[PI + i])
        w[Z + i] = v if v > SMALLEST_V else SMALLEST_V
    for i in range(size):
        v = w[Z + i]
        depth = -log(4.0 * v * (1.0 - v))
        x = DEPTH_SCALE * depth - 1.0
        total = SLOPE[NSLOPE - 1]
        for k in range(NSLOPE - 2, -1, -1):
            total = total * x + SLOPE[k]
        x = (2.0 * v - 1.0) * total * w[STEP + i] + w[START + i]
        inside = (depth < LARGEST_DEPTH) & (abs(x) <= 1.0)
        w[SPREAD + i] = 0.0 if inside else np.inf
        w[X + i] = x if inside else 0.0  # exp stays in its domain


@inlined
def six(total, x, w, j):  # type: ignore[no-untyped-def]
    """Six steps of Horner's scheme, written out: with a loop over rows, LLVM no longer sees that they are disjoint."""
    total = (total * x + w[j]) * x + w[j + STRIDE]
    total = (total * x + w[j + 2 * STRIDE]) * x + w[j + 3 * STRIDE]
    return (total * x + w[j + 4 * STRIDE]) * x + w[j + 5 * STRIDE]


@inlined
def six_absolute(x, w, j):  # type: ignore[no-untyped-def]
    """The same from 0, with the absolute values of the coefficients."""
    total = abs(w[j]) * x + abs(w[j + STRIDE])
    total = (total * x + abs(w[j + 2 * STRIDE])) * x + abs(w[j + 3 * STRIDE])
    return (total * x + abs(w[j + 4 * STRIDE])) * x + abs(w[j + 5 * STRIDE])


@kernel
def gamma_quantile(w, size):  # type: ignore[no-untyped-def]
    """To G the quantile w of the gamma distribution by its cube root, and to SPREAD a bound of its error."""
    for i in range(size):
        x = w[X + i]
        root = six(w[SECOND + i], x, w, SECOND + STRIDE + i)
        root = six(root, x, w, SECOND + 7 * STRIDE + i)
        root = six(root, x, w, SECOND + 13 * STRIDE + i)  # 19 rows
        square = w[PHI + i] * root * root
        w[SPREAD + i] += 3.3 * FIT * square
        w[G + i] = square * root


@kernel
def skewed_quantile(w, size):  # type: ignore[no-untyped-def]
    """The same by its logarithm, for phi below LEAST_PHI."""
    for i in range(size):
        x = w[X + i]
        power = six(w[SECOND + i], x, w, SECOND + STRIDE + i)
        power = six(power, x, w, SECOND + 7 * STRIDE + i)
        power = six(power, x, w, SECOND + 13 * STRIDE + i)
        power = six(power, x, w, SECOND + 19 * STRIDE + i)  # 25 rows
        w[G + i] = exp(power / w[PHI + i])
        w[SPREAD + i] += FIT_SKEWED * w[G + i]


@kernel
def expand(w, size):  # type: ignore[no-untyped-def]
    """``a - 1`` to Z, and the bound of its error to SPREAD, from w and the bound of its own."""
    for i in range(size):
        scale = 1.0 / log1p(w[PHI + i] / w[M + i])
        w[SPREAD + i] *= scale
        w[N + i] = scale * w[G + i]
    for i in range(size):
        w[H + i] = 1.0 / (w[N + i] * w[N + i])
    for i in range(size):
        g, scale = w[G + i], w[N + i] * w[H + i] * w[H + i] * w[H + i]
        w[Z + i] = scale * six(0.0, g, w, THIRD + i)
        w[SPREAD + i] += SHARE * scale * six_absolute(g, w, THIRD + i) + ROUNDING * w[N + i]
    for i in range(size):
        g, n, h = w[G + i], w[N + i], w[H + i]
        first = w[FIRST + i] * g + w[FIRST + STRIDE + i]
        second = (w[FIRST + 2 * STRIDE + i] * g + w[FIRST + 3 * STRIDE + i]) * g + w[FIRST + 4 * STRIDE + i]
        second = second * g + w[FIRST + 5 * STRIDE + i]
        w[Z + i] = n + ((w[Z + i] + n * h * first) + n * h * h * second) - 0.5 * (w[PHI + i] + 1.0)
