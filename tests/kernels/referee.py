"""SciPy as the outside referee of F(y - 1) < u <= F(y), and elements to be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import special

from streamsample.exact import settle
from streamsample.kernels import negbin
from streamsample.kernels.negbin import CERTAIN, UNDECIDED

Floats = NDArray[np.float64]


@numba.njit(error_model="numpy")
def quantile(m, phi, u):
    """Tier 2 without zero inflation: (k, status)."""
    return negbin.quantile(m, phi, u, 1.0 - u)


@numba.njit(error_model="numpy")
def _quantiles(m, phi, u, y, status):
    for i in range(m.size):
        y[i], status[i] = quantile(m[i], phi[i], u[i])


@dataclass(frozen=True)
class Elements:
    """Arrays of one length: means, total counts, and u = (j + 1/2) 2**-52."""

    m: Floats
    phi: Floats
    j: NDArray[np.int64]

    @property
    def u(self) -> Floats:
        return (self.j + 0.5) * 2.0**-52

    def quantiles(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts and statuses of tier 2."""
        y, status = np.empty((2, self.m.size), np.int64)
        _quantiles(self.m, self.phi, self.u, y, status)
        return y, status


def cdf(k: Floats, m: Floats, phi: Floats) -> tuple[Floats, Floats]:
    """F(k) and 1 - F(k), each with a small relative error; k = -1 gives 0 and 1."""
    finite = np.where(np.isinf(phi), 1.0, phi)
    total, a = finite + m, np.maximum(k, 0.0) + 1.0
    low = np.where(finite < m, special.betainc(finite, a, finite / total), special.betaincc(a, finite, m / total))
    high = np.where(finite < m, special.betaincc(finite, a, finite / total), special.betainc(a, finite, m / total))
    poisson = np.isinf(phi)
    low[poisson], high[poisson] = _poisson(a[poisson] - 1, m[poisson])
    return np.where(k < 0, 0.0, low), np.where(k < 0, 1.0, high)


def _poisson(k: Floats, m: Floats) -> tuple[Floats, Floats]:
    """F(k) and 1 - F(k) of the Poisson distribution."""
    low, high = special.pdtr(k, m), special.pdtrc(k, m)
    # SciPy's incomplete gamma functions (pdtr is one of them) stop their series after 2,000 terms: beyond 4.5 standard
    # deviations they are wrong by 1.5 % of the tail at a mean of 7e6, and by 5e-6 at 1e6.
    far = np.flatnonzero((m > 1e5) & (np.abs(k + 1 - m) > 4 * np.sqrt(m)))
    tail, above = _summed_tail(k[far], m[far]), k[far] >= m[far]
    low[far] = np.where(above, 1 - tail, tail)
    high[far] = np.where(above, tail, 1 - tail)
    return low, high


def _summed_tail(k: Floats, m: Floats) -> Floats:
    """F(k) of a Poisson distribution where k < m, else 1 - F(k), term by term from the largest; within 1e-7."""
    above = k >= m
    first = np.where(above, k + 1, k)
    term = np.exp(special.xlogy(first, m) - special.gammaln(first + 1) - m)
    total, i = np.zeros(k.size), 0
    while (term > 1e-12 * total).any():
        total += term
        term *= np.where(above, m / (first + i + 1), (first - i) / m)
        i += 1
    return total


def wrong(elements: Elements, y: NDArray[np.int64], status: NDArray[np.int64]) -> list[int]:
    """Indices of certain counts that the referee rejects and arbitrary precision does not save."""
    m, phi, u = elements.m, elements.phi, elements.u
    k = y.astype(float)
    at, above_at = cdf(k, m, phi)
    before, above_before = cdf(k - 1, m, phi)
    low = u < 0.5  # each half is judged by its own tail, where SciPy's error is relative
    fine = np.where(low, (before < u) & (u <= at), (above_before > 1 - u) & (1 - u >= above_at))
    rejected = np.flatnonzero((status == CERTAIN) & ~fine)
    return [i for i in rejected if settle(float(m[i]), float(phi[i]), float(u[i]), int(y[i])) != y[i]]


def random_elements(size: int, seed: int, *, tail: str = "none") -> Elements:
    """Means 1e-3 to 1e6, phi 1e-3 to 1e12 and a twentieth of them inf, both log-uniform."""
    rng = np.random.default_rng(seed)
    phi = 10.0 ** rng.uniform(-3, 12, size)
    phi[::20] = np.inf
    j = rng.integers(0, 2**52, size)
    if tail != "none":  # u below 1e-9, or above 1 - 1e-9, down to the last lattice point
        j = np.floor(10.0 ** rng.uniform(-15.6, -9, size) * 2.0**52).astype(np.int64)
        j = j if tail == "low" else 2**52 - 1 - j
    return Elements(10.0 ** rng.uniform(-3, 6, size), phi, j)


def unsettled(status: NDArray[np.int64]) -> float:
    """Share of counts that tier 2 leaves to tier 3."""
    return float((status == UNDECIDED).mean())
