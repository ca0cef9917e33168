"""The route of middling means: tables of F, what an expansion between them leaves out, and the counts it settles."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from streamsample.kernels import column_tables
from streamsample.kernels.column_tables import fill_table, fourth_derivative, table_shape
from streamsample.kernels.columns import expand
from streamsample.kernels.negbin import POISSON_PHI
from tests.golden import make_grid
from tests.kernels.referee import cdf

Floats = NDArray[np.float64]


def fourth(x: Floats, k: float, phi: float) -> Floats:
    """F'''' as a function of x = log m, by the recurrences of G = (k + 1) P(k + 1) and A = G' / G."""
    m = np.exp(x)
    p, q, c = phi / (phi + m), m / (phi + m), phi * m / (phi + m)
    a = p * (k + 1) - c
    a_1 = -q * a - c
    b, b_1 = a * a - q * a - c, (2 * a - q) * a_1 - p * q * a - c * p  # F''' = -b G
    log_g = (k + 1) * -np.log1p(phi / m) - phi * np.log1p(m / phi) - special.betaln(k + 1, phi)
    return -(b_1 + a * b) * np.exp(log_g)


@pytest.mark.parametrize(("m", "phi", "k"), [(0.3, 0.05, 0), (4.0, 2.5, 7), (30.0, 1.0, 11), (200.0, 40.0, 230)])
def test_the_fourth_derivative_is_what_differences_of_f_say(m: float, phi: float, k: int) -> None:
    with mpmath.workdps(60):
        true = mpmath.diff(lambda x: make_grid.summed(k, mpmath.exp(x), mpmath.mpf(phi)), mpmath.log(m), 4)
    assert fourth(np.log(np.array([m])), k, phi)[0] == pytest.approx(float(true), rel=1e-9)


def test_no_fourth_derivative_is_above_its_bound() -> None:
    """Neither that of phi nor that of k + 1: the two gamma distributions whose ratio is compared are alike."""
    nearest = 0.0
    for phi in 10.0 ** np.arange(-6, 12.1, 0.5):
        for k in [0, 1, 2, 3, 5, 9, 20, 60, 200, 1000, 10_000, 90_000]:
            # F falls from 1 to 0 where m is near k + 1, over a width of 1 / sqrt(min(phi, k)) in x.
            width = 30.0 / math.sqrt(min(phi, k + 1.0)) if min(phi, k + 1.0) > 1 else 30.0 / min(phi, 1.0) ** 0.25
            x = np.log(k + 1.0) + np.linspace(-min(width, 60.0), min(width, 60.0), 4001)
            largest = float(np.abs(fourth(x, k, phi)).max())
            bound = min(fourth_derivative(phi), fourth_derivative(k + 1.0))
            assert largest <= bound, (phi, k)
            nearest = max(nearest, largest / bound)
    assert nearest > 0.2, "a bound as wide as this would hide a factor that is forgotten"


def table_of(low: float, high: float, phi: float, ncells: int = 4096) -> tuple[float, Floats, Floats, Floats]:
    """The distance of a table's means, the table, p and c."""
    rows, distance, terms = table_shape(math.exp(low), math.exp(high), phi, ncells, 2**32 - 1)
    assert rows > 0
    table, p, c = np.empty((rows, terms + 1)), np.empty(rows), np.empty(rows)
    fill_table(low, distance, phi, np.empty(terms), table, p, c)
    return distance, table, p, c


def bound_of(distance: float, phi: float, terms: int) -> float:
    """What `fill_column` takes for the largest error."""
    rest = fourth_derivative(min(phi, float(terms))) * (0.5 * distance) ** 4 / 24
    return float(1.001 * rest + column_tables.ROUNDING)


def cases() -> list[tuple[float, float, float]]:
    """Ranges of log means, and total counts, for which a table is made."""
    rng, found = np.random.default_rng(5), []
    while len(found) < 60:
        low = rng.uniform(math.log(3), math.log(1e4))
        high = low + rng.choice([0.0, 1e-9, 0.1, 1.5, 4.0])
        phi = POISSON_PHI if rng.random() < 0.1 else 10 ** rng.uniform(-3, 12)
        if table_shape(math.exp(low), math.exp(high), phi, 4096, 2**32 - 1)[0]:
            found.append((low, high, phi))
    return found


CASES = cases()


def true_cdf(k: Floats, x: Floats, phi: float) -> Floats:
    """F(k) at log means x by SciPy, within 1e-12."""
    m, total = np.exp(x), np.full(x.shape, np.inf if phi == POISSON_PHI else phi)
    return cdf(k, m, total)[0]


def test_tables_are_f() -> None:
    """To a tenth of what `bound` allows for rounding."""
    for low, high, phi in CASES:
        distance, table, p, c = table_of(low, high, phi)
        rows = np.unique([0, len(table) // 2, max(len(table) - 2, 0), len(table) - 1])
        k = np.unique(np.linspace(-1, table.shape[1] - 2, 80).astype(int)).astype(float)
        x = low + distance * rows[:, None] + 0 * k
        true = true_cdf(np.broadcast_to(k, x.shape), x, phi)
        assert np.abs(table[rows][:, (k + 1).astype(int)] - true).max() < 1e-10
        m = np.exp(low + distance * np.arange(len(p)))
        np.testing.assert_allclose(p, 1 / (1 + m / phi), rtol=1e-12)
        np.testing.assert_allclose(c, p * m, rtol=1e-12)


def test_tables_are_f_by_mpmath() -> None:
    low, distance, phi = math.log(40.0), 0.05, 1.3
    table, p, c = np.empty((6, 301)), np.empty(6), np.empty(6)
    fill_table(low, distance, phi, np.empty(300), table, p, c)
    with mpmath.workdps(40):
        for row in (0, 3, 4, 5):
            m = mpmath.exp(mpmath.mpf(low + row * distance))
            for k in (0, 1, 40, 299):
                assert float(abs(table[row, k + 1] / make_grid.summed(k, m, mpmath.mpf(phi)) - 1)) < 1e-12
    assert not table[:, 0].any()


def test_expansions_are_within_their_bound() -> None:
    """Halfway between two means of the table, where they are worst, at all k."""
    nearest = 0.0
    for low, high, phi in CASES:
        distance, table, p, c = table_of(low, high, phi)
        terms = table.shape[1] - 1
        bound = bound_of(distance, phi, terms)
        k = np.unique(np.linspace(0, terms - 2, 200).astype(int)).astype(float)
        for row in {0, len(table) // 2, len(table) - 1}:
            for d in (-0.5 * distance, 0.5 * distance, 0.31 * distance):
                work = np.empty((6, k.size))
                expand(np.full(k.size, row), np.full(k.size, d), k, table.ravel(), terms + 1, p, c, work)
                x = np.full(k.size, low + row * distance + d)
                gap = np.abs(work[:2] - np.array([true_cdf(k - 1, x, phi), true_cdf(k, x, phi)])).max()
                assert gap <= bound, (low, high, phi, row)
                if distance < 3.0:  # farther apart, as with small phi, the fourth derivative is not seen
                    nearest = max(nearest, float(gap / bound))
    assert nearest > 0.05, "a bound as wide as this would hide a power that is forgotten"
