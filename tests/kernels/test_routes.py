"""Whatever route a count takes through a slab, it is the one that tiers 2 and 3 find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.workloads import WORKLOADS
from streamsample.errors import CountOverflow
from streamsample.kernels.column_tables import LEAST_CELLS
from streamsample.kernels.slab import BLOCK, BRACKETS, COLUMN, GAMMA, SKEWED, choose_routes
from streamsample.posterior import Posterior
from streamsample.slab_work import draws
from streamsample.stream import CountStream
from tests.kernels.alone import counts_alone, counts_by_slab

Rng = np.random.Generator
Array = NDArray[Any]
# Laws of a feature's log mean and log10 phi.
LAWS = [
    (lambda rng: rng.normal(-1.5, 1.5), lambda rng: rng.normal(0.3, 0.5)),
    (lambda rng: rng.normal(2.0, 1.5), lambda rng: rng.normal(0.5, 0.5)),
    (lambda rng: rng.normal(6.0, 2.0), lambda rng: rng.uniform(0.05, 2.0)),
    (lambda rng: rng.uniform(2.0, 16.0), lambda rng: rng.uniform(0.05, 8.0)),
    (lambda rng: rng.uniform(1.1, 9.0), lambda rng: rng.uniform(-6.0, 12.0)),
    (lambda rng: rng.uniform(-30.0, 3.0), lambda rng: rng.uniform(-6.0, 12.0)),
    (lambda rng: rng.normal(0.0, 1.5), lambda rng: rng.normal(-1.3, 0.5)),
    (lambda rng: rng.uniform(2.0, 16.0), lambda rng: rng.uniform(-1.31, 0.09)),
]


def features_of(rng: Rng, nfeatures: int, nsamples: int) -> tuple[Array, Array]:
    """mu and phi of features of one law, of two, or of all; some Poisson, some of mean 0."""
    laws = rng.choice(rng.permutation(len(LAWS))[: rng.choice([1, 2, len(LAWS)])], nfeatures)
    drawn = np.array([[law(rng) for law in LAWS[which]] for which in laws])  # (T, 2)
    mu = np.exp(drawn[:, 0] + rng.normal(0, 0.05, (nsamples, nfeatures)))
    phi = np.clip(10 ** (drawn[:, 1] + rng.normal(0, 0.02, mu.shape)), 1e-6, 1e12)
    phi[:, rng.random(nfeatures) < rng.choice([0.0, 0.2])] = np.inf
    mu[:, rng.random(nfeatures) < rng.choice([0.0, 0.1])] = 0.0
    return mu, phi


def posterior_of(rng: Rng, ncells: int, nfeatures: int) -> Posterior:
    """A regime: groups alike or worlds apart, one of them empty; cells all alike or of any depth, one of none."""
    nsamples, ngroups = int(rng.choice([1, 2])), int(rng.choice([1, 2, 3, 5, 60]))
    mu, phi = features_of(rng, nfeatures, nsamples)
    alpha = np.exp(rng.normal(0, rng.choice([0.0, 0.2, 1.0, 4.0]), (nsamples, ngroups, nfeatures)))
    alpha[rng.random(alpha.shape) < rng.choice([0.0, 0.03])] = 0.0
    size_factor = np.exp(rng.normal(0, rng.choice([0.0, 1e-9, 0.05, 0.4, 1.0, 2.0]), ncells))
    size_factor[rng.integers(ncells)] *= rng.choice([1.0, 0.0])
    group = rng.integers(0, ngroups, ncells)
    group[group == 1] = rng.integers(2) if ngroups > 1 else 0
    largest = (mu[:, None] * alpha).max(axis=(0, 1)) * size_factor.max()  # (T,)
    return Posterior.from_arrays(
        mu * np.minimum(1.0, 9e6 / np.maximum(largest, 1.0)), phi, alpha, size_factor=size_factor, group=group
    )


def chosen_of(rng: Rng, stream: CountStream) -> CountStream:
    """All cells, or in another order, or with holes in their quads; all features, or some in any order."""
    _, ncells, nfeatures = stream.shape
    cells = [
        np.arange(ncells), rng.permutation(ncells), np.arange(0, ncells, 3),
        np.sort(rng.permutation(ncells)[: 1 + ncells * 7 // 10]),
    ][rng.integers(4)]  # fmt: skip
    features = [np.arange(nfeatures), rng.permutation(nfeatures)[: 1 + nfeatures // 2]][rng.integers(2)]
    return stream.select(cells=cells, features=features)


@pytest.mark.parametrize("seed", range(40))
def test_any_regime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ncells = int(rng.choice([1, 5, 31, 33, 96, 130, LEAST_CELLS, LEAST_CELLS + 4, 900, 2000]))
    nfeatures = int(rng.choice([3, 15, 16, 40, 130, BLOCK - 12, BLOCK + 18] if ncells < 900 else [3, 16, 40, 90]))
    whole = CountStream(posterior_of(rng, ncells, nfeatures), int(rng.integers(2**63)))
    stream = chosen_of(rng, whole)
    counts = counts_alone(stream)
    for dtype in (np.uint8, np.uint16, np.uint32):
        if counts.max() <= np.iinfo(dtype).max:
            np.testing.assert_array_equal(counts_by_slab(stream, dtype), counts)


def routes_of(stream: CountStream) -> list[int]:
    """The route of each feature of the first sample."""
    features = stream.selection.features.astype(np.uint64)
    route, blocks = np.empty((1, features.size), np.int8), -(-features.size // BLOCK)
    block, layout = draws(stream.load(0, 1).parameters), stream.layout(0, stream.shape[1])
    choose_routes(0, blocks, features, block, layout, 1, 2**32 - 1, route)
    return route[0].tolist()


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("shape", [(1, 4096, 260), (10, 96, 1100)], ids=["many cells", "few cells"])
def test_a_million_counts_of_each_workload(name: str, shape: tuple[int, int, int]) -> None:
    stream = CountStream(WORKLOADS[name].posterior(shape), seed=2**40 + shape[1])
    minibatch, out = stream.load(0, shape[0]), np.full(shape, 77, np.uint32)
    minibatch.fill(0, shape[0], 0, shape[1], out)
    np.testing.assert_array_equal(out, counts_alone(stream))
    assert minibatch.pending <= 1  # of a million, of which one is allowed and 0 are found
    assert minibatch.waited < out.size
    routes = routes_of(stream)
    assert routes.count(BRACKETS) > 0
    if name in ("deep", "bulk"):
        assert routes.count(COLUMN if shape[1] > LEAST_CELLS else GAMMA) > 10


@pytest.mark.parametrize("ncells", [96, 2000])
def test_a_million_large_counts_of_small_phi(ncells: int) -> None:
    """Log-normal means around a thousand, phi from below the fit's range to above it, dense near its ends."""
    rng = np.random.default_rng(ncells)
    mu = rng.lognormal(7.0, 1.5, (1, 10**6 // ncells))
    phi = 1.15 * rng.beta(0.6, 0.6, mu.shape) + 0.048
    stream = CountStream(Posterior.from_arrays(mu, phi, size_factor=rng.lognormal(0, 0.3, ncells)), 11)
    minibatch, out = stream.load(0, 1), np.empty((1, ncells, mu.size), np.uint32)
    minibatch.fill(0, 1, 0, ncells, out)
    np.testing.assert_array_equal(out, counts_alone(stream))
    assert routes_of(stream).count(SKEWED) > 0.8 * mu.size
    assert minibatch.waited < 0.4 * out.size
    assert minibatch.scalar < 0.02 * out.size


@pytest.mark.parametrize("ncells", [*range(28, 36), 60])
def test_many_counts_of_two_routes_wait_at_once(ncells: int) -> None:
    """One route leaves a fifth of its counts, the other all of them: together more than there is room for."""
    mu, phi = np.empty((2, 1, BLOCK))
    mu[:, :200], phi[:, :200] = 1e7, 1e6
    mu[:, 200:], phi[:, 200:] = 300.0, 0.04
    stream = CountStream(Posterior.from_arrays(mu, phi, n_cells=ncells), 7)
    assert set(routes_of(stream)) == {GAMMA, BRACKETS}
    np.testing.assert_array_equal(counts_by_slab(stream), counts_alone(stream))


@pytest.mark.parametrize("ncells", [20, 200])
def test_a_mean_of_zero_is_written_like_any_count(ncells: int) -> None:
    """With brackets and without, and beside features of each route."""
    mu, phi = np.full((1, 64), 0.5), np.full((1, 64), 2.0)
    mu[:, 16:32] = 0.0
    mu[:, 32:48], phi[:, 32:48] = 5000.0, 20.0
    counts = counts_by_slab(CountStream(Posterior.from_arrays(mu, phi, n_cells=ncells), 1))
    assert not counts[:, :, 16:32].any()
    assert counts[:, :, 32:48].all()


@pytest.mark.parametrize(
    ("route", "ncells", "nfeatures", "mean", "phi"),
    [(COLUMN, 700, 20, 215.0, np.inf), (GAMMA, 300, 100, 165.0, 50.0), (SKEWED, 500, 16, 70.0, 0.9)],
)
def test_the_largest_count_of_a_type_is_kept_and_the_next_refused(
    route: int, ncells: int, nfeatures: int, mean: float, phi: float
) -> None:
    posterior = Posterior.from_arrays(np.full((1, nfeatures), mean), np.full((1, nfeatures), phi), n_cells=ncells)
    stream = CountStream(posterior, 4)
    counts = counts_alone(stream)[0]
    fits = np.flatnonzero((counts <= 255).all(axis=1))
    assert 255 in counts[fits]
    kept = stream.select(cells=fits)
    assert set(routes_of(kept)) == {route}
    np.testing.assert_array_equal(counts_by_slab(kept, np.uint8)[0], counts[fits])
    n, t = np.argwhere(counts == 256)[0]
    with pytest.raises(CountOverflow, match=rf"cell {n}, feature {t} .*above 255, .*uint8"):
        counts_by_slab(stream.select(cells=np.sort([*fits, n])), np.uint8)


def test_very_many_groups_do_without_brackets() -> None:
    rng = np.random.default_rng(2)
    mu, phi = rng.lognormal(0, 2, (1, 40)), rng.lognormal(0, 1, (1, 40))
    mu[:, 3] = 0.0
    posterior = Posterior.from_arrays(
        mu, phi, rng.lognormal(0, 1, (1, 90, 40)), size_factor=rng.lognormal(0, 0.3, 180), group=np.arange(180) % 90
    )
    stream = CountStream(posterior, 5)
    assert stream.layout(0, 180).edges.size == 0
    np.testing.assert_array_equal(counts_by_slab(stream), counts_alone(stream))
