"""Tier 3 against sums of its own, exact equality, and time."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest

from streamsample.exact import reaches, settle


def summed_cdf(k, m, phi, bits=400):
    """F(k) term by term."""
    with mpmath.workprec(bits):
        m, phi = mpmath.mpf(m), mpmath.mpf(phi)
        if mpmath.isinf(phi):
            return mpmath.exp(-m) * sum(m**i / mpmath.factorial(i) for i in range(k + 1))
        term = total = (phi / (phi + m)) ** phi
        for i in range(k):
            term *= (phi + i) / (i + 1) * m / (phi + m)
            total += term
        return total


@pytest.mark.parametrize("m", [1e-12, 1e-3, 0.75, 5.0, 300.0])
@pytest.mark.parametrize("phi", [1e-6, 0.3, 1.0, 7.3, 65.0, 2000.0, 1e12, float("inf")])
def test_agrees_with_summation(m, phi):
    for k in (0, 1, 5, 40, 400):
        step = summed_cdf(k, m, phi)
        for j in {int(step * 2**52) + d for d in (-1, 0, 1)}:
            u = (j + 0.5) * 2.0**-52
            if 0 < u < 1:
                assert reaches(k, m, phi, u) == (step >= mpmath.mpf(u))


@pytest.mark.parametrize("near", [0, 51, 52, 53, 60])
def test_equality_is_decided_in_integers(near):
    # phi = 1, m = 1: F(k) = 1 - 2**-(k + 1), so that F(52) is the last u itself.
    assert settle(1.0, 1.0, 1 - 2.0**-53, near) == 52


def test_equality_with_a_rational_root():
    # phi = 1/2, m = 3/2: F(0) = (1/4)**(1/2) = 1/2; the lattice has no 1/2, but its neighbours on both sides.
    assert settle(1.5, 0.5, 0.5 - 2.0**-53, 3) == 0
    assert settle(1.5, 0.5, 0.5 + 2.0**-53, 0) == 1
    assert Fraction(1, 2) == Fraction(summed_cdf(0, 1.5, 0.5).__float__())


@pytest.mark.parametrize(
    ("m", "phi"), [(1e7, 1e12), (1e7, float("inf")), (1e7, 1e7), (1e7, 64.5), (1e7, 1e-6), (1e6, 1e4)]
)
def test_the_answer_does_not_depend_on_where_the_search_starts(m, phi):
    u = (int(0.3 * 2**52) + 0.5) * 2.0**-52
    y = settle(m, phi, u, int(_near(m, phi, u)))
    assert y == settle(m, phi, u, y + 1) == settle(m, phi, u, max(y - 1, 0))


@pytest.mark.parametrize("pi", [5e-324, 1e-300, 1e-12, 0.1, 0.5, 0.999, 1 - 2.0**-53])
@pytest.mark.parametrize("phi", [1e-6, 0.3, 1.0, 65.0, 1e12, float("inf")])
def test_agrees_with_summation_under_zero_inflation(pi, phi):
    for m in (1e-9, 0.75, 30.0):
        for k in (0, 1, 5, 40):
            with mpmath.workprec(2500):  # of which a chance of 5e-324 takes 1,100
                step = pi + (1 - mpmath.mpf(pi)) * summed_cdf(k, m, phi, 2400)
                for j in {int(step * 2**52) + d for d in (-1, 0, 1)}:
                    u = (j + 0.5) * 2.0**-52
                    if 0 < u < 1:
                        assert reaches(k, m, phi, u, pi) == (step >= mpmath.mpf(u))


@pytest.mark.parametrize("near", [0, 50, 51, 52])
def test_equality_under_zero_inflation_is_decided_in_integers(near):
    # pi = 1/2, phi = 1, m = 1: 1 - 2**-(k + 2), so that k = 51 gives the last u itself.
    assert settle(1.0, 1.0, 1 - 2.0**-53, near, 0.5) == 51
    assert settle(1.0, 1.0, 1 - 2.0**-53, near, 5e-324) == 52


@pytest.mark.parametrize("pi", [2.0**-53, 0.25, 1.0])
def test_what_zero_inflation_covers_is_zero(pi):
    assert settle(1e7, float("inf"), min(pi, 1 - 2.0**-53), 0, pi) == 0


def _near(m, phi, u):
    from tests.kernels.referee import quantile

    return quantile(m, phi, u)[0]
