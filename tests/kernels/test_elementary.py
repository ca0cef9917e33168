"""The constants that every error bound is built from, measured against mpmath."""

from __future__ import annotations

import mpmath
import numba
import numpy as np
import pytest

from streamsample.kernels import elementary
from streamsample.kernels.elementary import (
    DEVIANCE_ERROR,
    EXP_ERROR,
    LOG_ERROR,
    STIRLING_ERROR,
    STIRLING_ERROR_SMALL,
    U,
    deviance,
    stirling,
)


@numba.njit(error_model="numpy")
def _exp(x):
    return elementary.exp(x)


@numba.njit(error_model="numpy")
def _log(x):
    return elementary.log(x)


@numba.njit(error_model="numpy")
def _log1p(x):
    return elementary.log1p(x)


def worst(function, reference, arguments, *, absolute=False):
    """Largest error in units of U, relative unless `absolute`."""
    errors = []
    with mpmath.workprec(200):
        for x in arguments:
            true = reference(mpmath.mpf(float(x)))
            error = abs(mpmath.mpf(float(function(float(x)))) - true)
            errors.append(float(error / (1 if absolute or true == 0 else abs(true)) / U))
    return max(errors)


def spread(low, high, size=4000, seed=0):
    return 10.0 ** np.random.default_rng(seed).uniform(low, high, size)


def half(bound):
    """Bounds are stated with a factor of 2 to spare over what a sample shows."""
    return bound / 2


def test_exp():
    arguments = np.concatenate([-spread(-20, np.log10(690)), np.linspace(-40, 40, 2001)])
    assert worst(_exp, mpmath.exp, arguments) < half(EXP_ERROR)


def test_log():
    arguments = np.concatenate([spread(-300, 300), 1 + spread(-15, -1), 1 - spread(-15, -1)])
    assert worst(_log, mpmath.log, arguments) < half(LOG_ERROR)


def test_log1p():
    arguments = np.concatenate([spread(-40, 30), -spread(-40, -0.01)])
    assert worst(_log1p, mpmath.log1p, arguments) < half(LOG_ERROR)


def test_deviance():
    def reference(x):
        return (1 + x) * mpmath.log(1 + x) - x

    arguments = np.concatenate([spread(-30, 10), -spread(-30, -0.001), np.linspace(-0.6, 0.6, 1001)])
    assert worst(lambda x: deviance(x)[0], reference, arguments) < half(DEVIANCE_ERROR)


def test_deviance_tells_how_an_error_of_its_argument_grows():
    for x in (-0.999, -0.7, -0.3, 1e-3, 0.4, 3.0, 1e6):
        assert deviance(x)[1] >= 0.999 * abs(x * np.log1p(x))


def test_stirling():
    def reference(z):
        return mpmath.loggamma(z) - ((z - 0.5) * mpmath.log(z) - z + mpmath.log(2 * mpmath.pi) / 2)

    assert worst(stirling, reference, spread(0, 6), absolute=True) < half(STIRLING_ERROR)
    assert worst(stirling, reference, spread(-6, 0), absolute=True) < half(STIRLING_ERROR_SMALL)


@pytest.mark.parametrize("x", [-690.0, 690.0])
def test_exp_is_normal_at_the_ends_of_its_domain(x):
    assert np.finfo(float).tiny * 2**20 < _exp(x) < np.finfo(float).max
