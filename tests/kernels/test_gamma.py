"""The route of large means: the fitted gamma quantile, and the expansion from there to the counts."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from streamsample.kernels import gamma
from streamsample.kernels.gamma_fit import LARGEST_DEPTH, LARGEST_Z, LEAST_PHI
from tests.golden import make_gamma_fit

Floats = NDArray[np.float64]
SMALL_PHI = np.array([1.2, 2.0, 3.0, 5.0, (61 / 13) ** 0.5, 2.675])
"""The least, and those at which a coefficient of B1 to B3 vanishes, so that it says nothing of the next."""


def lattice(z: Floats) -> NDArray[np.int64]:
    """j of the u = (j + 1/2) 2**-52 next to the normal distribution's F(z)."""
    return np.floor(special.ndtr(z) * 2.0**52).astype(np.int64)


def uniforms(j: NDArray[np.int64]) -> Floats:
    return (j + 0.5) * 2.0**-52


def words(j: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """hi and lo, with bits in lo that u does not use."""
    return (j >> 20).astype(np.uint32), (j << 12 | 0xABC).astype(np.uint32)


def pieces(size: int) -> list[NDArray[np.int64]]:
    """As many elements as the kernel has in work at once."""
    return np.array_split(np.arange(size), -(-size // gamma.LANES)) if size else []


def row(w: Floats, start: int, size: int) -> Floats:
    """A row of the kernel's scratch."""
    return w[start : start + size]


def lanes(phi: Floats, skewed: bool) -> Floats:
    """Scratch with all that follows from phi."""
    w = np.zeros(gamma.SIZE)
    row(w, gamma.PHI, phi.size)[:] = phi
    gamma.fill_quantiles(w, phi.size, skewed)
    gamma.fill_powers(w, phi.size)
    return w


def quantiles(phi: Floats, j: NDArray[np.int64], skewed: bool) -> Floats:
    """Scratch with w, and the bound of its error."""
    w = lanes(phi, skewed)
    gamma.normal_quantile(*words(j), w, phi.size)
    (gamma.skewed_quantile if skewed else gamma.gamma_quantile)(w, phi.size)
    return w


def fitted(phi: Floats, z: Floats) -> tuple[Floats, Floats]:
    """The fit at z, evaluated as the kernel does: the cube root of w / phi, or phi log(w); and its variable x."""
    skewed, made, variable = bool(phi[0] < LEAST_PHI), [], []
    degrees = (gamma.SKEWED if skewed else gamma.QUANTILE).shape[0]
    for some in pieces(phi.size):
        w = lanes(phi[some], skewed)
        x = z[some] * row(w, gamma.STEP, some.size) + row(w, gamma.START, some.size)
        coefficients = [row(w, gamma.SECOND + k * gamma.STRIDE, some.size) for k in range(degrees)]  # descending
        made.append(np.polyval(coefficients, x))
        variable.append(x)
    return np.concatenate(made), np.concatenate(variable)


def expanded(m: Floats, phi: Floats, j: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """``a - 1`` and its bound, by the kernel."""
    x, bound = np.empty(m.size), np.empty(m.size)
    for skewed in (False, True):
        members = np.flatnonzero((phi < LEAST_PHI) == skewed)
        for piece in pieces(members.size):
            some = members[piece]
            w = quantiles(phi[some], j[some], skewed)
            row(w, gamma.M, some.size)[:] = m[some]
            gamma.expand(w, some.size)
            x[some], bound[some] = row(w, gamma.Z, some.size), row(w, gamma.SPREAD, some.size)
    return x, bound


def solved(m: Floats, phi: Floats, u: Floats, near: Floats) -> Floats:
    """``a - 1`` of ``I_p(phi, a) = u`` by SciPy: Newton's method on the smaller tail, from `near`."""
    p, q = phi / (phi + m), m / (phi + m)

    def lower(a: Floats) -> Floats:
        below = np.where(phi < m, special.betainc(phi, a, p), special.betaincc(a, phi, q))
        above = np.where(phi < m, special.betaincc(phi, a, p), special.betainc(a, phi, q))
        return np.asarray(np.where(u < 0.5, below - u, (1 - u) - above))

    a = near + 1
    for _ in range(4):
        h = 1e-4 * np.sqrt(a)
        a = a - lower(a) * 2 * h / (lower(a + h) - lower(a - h))
    return np.asarray(a - 1)


def elements(size: int, seed: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Means, total counts and j over the route's domain, half of them where it is least accurate."""
    rng = np.random.default_rng(seed)
    phi = 10 ** rng.uniform(np.log10(rng.choice([gamma.SKEWED_PHI, LEAST_PHI], size)), rng.choice([1.5, 8.0], size))
    phi[: size // 10] = np.resize(SMALL_PHI, size // 10)
    m = gamma.LEAST_MEAN * np.exp(rng.exponential(rng.choice([0.5, 2.0, 8.0], size)))
    return np.minimum(m, 1e7), phi, lattice(rng.uniform(-LARGEST_Z, LARGEST_Z, size))


def test_the_constants_are_what_their_script_makes(tmp_path, monkeypatch):
    """To the last digits, which depend on the machine's own BLAS and libm."""
    monkeypatch.setattr(make_gamma_fit, "TARGET", tmp_path / "gamma_fit.py")
    make_gamma_fit.main()
    made: dict[str, NDArray[np.float64]] = {}
    exec((tmp_path / "gamma_fit.py").read_text(), made)
    for name in ("QUANTILE", "SKEWED", "SLOPE"):
        np.testing.assert_allclose(made[name], getattr(gamma, name), rtol=0, atol=1e-10)
    assert (made["LARGEST_Z"], made["LEAST_PHI"], made["LARGEST_DEPTH"]) == (LARGEST_Z, LEAST_PHI, LARGEST_DEPTH)


def test_the_fit_is_better_than_is_relied_on():
    """At phi and z between those that it was made from; phi up to 1e8, where SciPy's quantile has lost three digits."""
    z = np.linspace(-LARGEST_Z, LARGEST_Z, 401)
    worst = 0.0
    for phi in np.concatenate([SMALL_PHI, 10 ** np.linspace(0.0793, 8, 120)]):
        true = make_gamma_fit.cube_root(z, np.full(z.size, phi**-0.5))
        worst = max(worst, float(np.abs(fitted(np.full(z.size, phi), z)[0] - true).max()))
    assert 1e-10 < worst < gamma.FIT / 2


def test_the_fit_for_small_phi_is_better_than_is_relied_on():
    z = np.linspace(-LARGEST_Z, LARGEST_Z, 801)
    worst = 0.0
    for phi in np.exp(np.linspace(np.log(gamma.SKEWED_PHI), np.log(LEAST_PHI * (1 - 1e-9)), 120)):
        made, x = fitted(np.full(z.size, phi), z)
        inside = np.abs(x) <= 1
        assert inside.mean() > 0.45, "more than half of the normal quantiles, and of them the upper ones"
        true = make_gamma_fit.log_quantile(z[inside], np.full(z.size, phi**0.5)[inside])
        worst = max(worst, float(np.abs(made[inside] - true).max()) / phi)
    assert 1e-9 < worst < gamma.FIT_SKEWED / 2


def test_normal_quantiles_with_the_fit_of_their_slope():
    z = np.concatenate([np.linspace(-LARGEST_Z, LARGEST_Z, 5001), [0.0, 1e-9, -1e-9]])
    j = lattice(z)
    found, inside = np.empty(z.size), np.empty(z.size, bool)
    for some in pieces(z.size):
        w = lanes(np.full(some.size, 2.0), skewed=False)  # for which x is z over LARGEST_Z
        gamma.normal_quantile(*words(j[some]), w, some.size)
        found[some] = row(w, gamma.X, some.size) * LARGEST_Z
        inside[some] = np.isfinite(row(w, gamma.SPREAD, some.size))
    true = special.ndtri(uniforms(j))
    assert inside[np.abs(z) < 0.999 * LARGEST_Z].all()
    # The cube root grows by less than 0.5 for each unit of z.
    assert np.abs(found - true)[inside].max() < gamma.FIT / 2


def test_normal_quantiles_of_what_zero_inflation_leaves():
    """v and 1 - v rounded as in `negbin.split`; nothing is told of what is inflated."""
    rng = np.random.default_rng(8)
    j, pi = lattice(rng.uniform(-8, 8, 3000)), rng.choice([0.0, 1e-9, 0.3, 0.97], 3000)
    for some in pieces(j.size):
        w = lanes(np.full(some.size, 2.0), skewed=False)
        row(w, gamma.PI, some.size)[:] = pi[some]
        gamma.normal_quantile(*words(j[some]), w, some.size)
        inside = np.isfinite(row(w, gamma.SPREAD, some.size))
        v = (uniforms(j[some]) - pi[some]) / (1 - pi[some])
        assert not inside[v < special.ndtr(-1.001 * LARGEST_Z)].any()
        assert inside[(v > special.ndtr(-0.999 * LARGEST_Z)) & (v < special.ndtr(0.999 * LARGEST_Z))].all()
        gap = np.abs(row(w, gamma.X, some.size) * LARGEST_Z - special.ndtri(np.where(inside, v, 0.5)))
        assert gap[inside].max() < gamma.FIT / 2


def test_the_quantile_of_the_gamma_distribution_with_small_phi():
    """All of it: words, z and w."""
    rng = np.random.default_rng(6)
    phi = np.exp(rng.uniform(np.log(gamma.SKEWED_PHI), np.log(LEAST_PHI) - 1e-9, 100_000))
    j = lattice(rng.uniform(-LARGEST_Z, LARGEST_Z, phi.size))
    found, bound = np.empty((2, phi.size))
    for some in pieces(phi.size):
        w = quantiles(phi[some], j[some], skewed=True)
        found[some], bound[some] = row(w, gamma.G, some.size), row(w, gamma.SPREAD, some.size)
    inside, u = np.isfinite(bound), uniforms(j)
    true = np.where(u < 0.5, special.gammaincinv(phi, u), special.gammainccinv(phi, 1 - u))
    assert inside.mean() > 0.6
    assert np.abs(found / true - 1)[inside].max() < gamma.FIT_SKEWED / 2


def test_out_of_the_fits_range_nothing_is_certain():
    j = np.concatenate([lattice(np.linspace(3.41, 8.0, 50)), [0, 1, 2**52 - 1], lattice(np.linspace(-8.0, -3.41, 50))])
    _, bound = expanded(np.full(j.size, 500.0), np.full(j.size, 20.0), j)
    assert not (bound < np.inf).any()  # far out it is no number, which is as good


def test_the_expansion_is_within_its_bound():
    """Wherever that is narrow enough to tell a count, suitable mean or not."""
    m, phi, j = elements(40_000, seed=3)
    x, bound = expanded(m, phi, j)
    told = np.flatnonzero((bound < 0.5) & (x > gamma.LEAST))
    assert told.size > 15_000
    true = solved(m[told], phi[told], uniforms(j[told]), x[told])
    ratio = np.abs(x[told] - true) / bound[told]
    assert ratio.max() < 0.7  # of 0.47, found with 300,000
    assert ratio.max() > 0.1, "a bound as wide as this would hide a power that is forgotten"


def test_the_solutions_compared_with_are_solutions():
    """By mpmath, for some."""
    m, phi, j = elements(4000, seed=4)
    x, bound = expanded(m, phi, j)
    told = np.flatnonzero((bound < 0.5) & (x > gamma.LEAST) & (m < 1e4) & (phi < 200))[:12]
    true = solved(m[told], phi[told], uniforms(j[told]), x[told])
    with mpmath.workdps(40):
        for i, a in zip(told, true + 1, strict=True):
            p = mpmath.mpf(phi[i]) / (mpmath.mpf(phi[i]) + mpmath.mpf(m[i]))
            below, above = (mpmath.betainc(phi[i], a + h, 0, p, regularized=True) for h in (-1e-3, 1e-3))
            at = mpmath.betainc(phi[i], a, 0, p, regularized=True)
            assert abs((at - mpmath.mpf(float(uniforms(j[i])))) / ((above - below) / 2e-3)) < 0.02 * bound[i]


@pytest.mark.parametrize("limit", [255.0, 65535.0])
def test_counts_above_the_types_limit_are_left(limit):
    x = np.array([limit - 0.5, limit + 0.5, 6.5, 5.5, limit - 1.0])
    w = np.zeros(gamma.SIZE)
    row(w, gamma.Z, x.size)[:], row(w, gamma.SPREAD, x.size)[:] = x, 1e-6
    gamma.settle(w, x.size, limit)
    assert row(w, gamma.Z, x.size).tolist() == [limit, -1, 7, -1, -1]


def suits(mean: float, phi: float) -> bool:
    return bool(gamma.suits(mean, phi, np.empty(gamma.SECOND)))


def test_what_does_not_suit():
    assert suits(1000.0, 20.0)
    assert suits(1000.0, np.nextafter(LEAST_PHI, 0))
    assert suits(1000.0, LEAST_PHI)
    assert suits(1000.0, gamma.SKEWED_PHI)
    assert not suits(1000.0, np.nextafter(gamma.SKEWED_PHI, 0))
    assert not suits(np.nextafter(gamma.LEAST_MEAN, 0), 20.0)
    assert not suits(1e7, 1e9)
    assert not suits(np.nan, 20.0)
    assert not suits(0.0, 20.0)
