"""The mean of each count: what a feature has in a cell's group, times what the design says of the cell, times depth."""

from __future__ import annotations

import numpy as np

from streamsample.kernels.elementary import exponential
from streamsample.kernels.jit import kernel

LARGEST_MEAN = 1e7  # of the stream's domain
PROBES = 8  # cells whose means are looked at, where there is a design


@kernel
def fill_means(base, beta, layout, n, means):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """Means of cell `n` for a block of features; returns how many of them are outside the domain.

    base: (C, L) means at size factor 1; beta: (K, L) coefficients, K = 0 without a design, whose means were checked
    with the parameters; means: (>= L,).
    """
    base, factor, size = base[layout.group[n]], layout.size_factor[n], base.shape[1]
    if beta.shape[0] == 0:
        for i in range(size):
            means[i] = base[i] * factor
        return 0
    for i in range(size):
        means[i] = 0.0
    j, end = layout.begin[n], layout.begin[n + 1]
    while j + 4 <= end:  # four at a time: fewer loads and stores; in rising order, as the definition adds them up
        add_four(layout.covariates[j : j + 4], layout.values[j : j + 4], beta, means)
        j += 4
    while j < end:
        x, row = layout.values[j], beta[layout.covariates[j]]
        for i in range(size):
            means[i] += x * row[i]
        j += 1
    outside = 0
    for i in range(size):
        means[i] = base[i] * exponential(means[i]) * factor
        outside += 0 if means[i] <= LARGEST_MEAN else 1  # NaN is outside, too
    return outside


@kernel
def add_four(covariates, values, beta, eta):  # type: ignore[no-untyped-def]
    """Add what four covariates contribute; covariates, values: (4,); eta: (>= L,)."""
    a, b, c, d = values[0], values[1], values[2], values[3]
    row_a, row_b = beta[covariates[0]], beta[covariates[1]]
    row_c, row_d = beta[covariates[2]], beta[covariates[3]]
    for i in range(beta.shape[1]):
        eta[i] = (((eta[i] + a * row_a[i]) + b * row_b[i]) + c * row_c[i]) + d * row_d[i]


@kernel
def mean_of(base, beta, layout, n, i):  # type: ignore[no-untyped-def]
    """The mean of one count: of cell `n` and feature `i` of the block. Arguments as in `fill_means`."""
    m = base[layout.group[n], i]
    if beta.shape[0] > 0:
        eta = 0.0
        for j in range(layout.begin[n], layout.begin[n + 1]):
            eta += layout.values[j] * beta[layout.covariates[j], i]
        m *= exponential(eta)
    return m * layout.size_factor[n]


@kernel
def mean_range(base, beta, layout, least, most):  # type: ignore[no-untyped-def]
    """About the least and the largest mean of each feature, by which routes are chosen; least, most: (>= L,).

    Exact without a design; else those of some of the cells.
    """
    size, ncells = base.shape[1], layout.size_factor.size
    for i in range(size):
        least[i], most[i] = np.inf, 0.0
    if beta.shape[0] == 0:
        for c in range(base.shape[0]):
            a, b, row = layout.factor_range[c, 0], layout.factor_range[c, 1], base[c]
            if a <= b:  # the group has a cell
                for i in range(size):
                    least[i] = min(least[i], row[i] * a)
                    most[i] = max(most[i], row[i] * b)
        return
    means = np.empty(size, np.float64)
    for n in range(0, ncells, max(1, ncells // PROBES)):
        fill_means(base, beta, layout, n, means)
        for i in range(size):
            least[i] = min(least[i], means[i])
            most[i] = max(most[i], means[i])
