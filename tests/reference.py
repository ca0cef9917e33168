"""Stream version 1 in plain Python integers and SciPy: short, slow, and without a line of the package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

MASK = 0xFFFFFFFF
Words = tuple[int, int, int, int]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10 as its paper writes it."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def uniform(seed: int, s: int, n: int, t: int) -> float:
    """u of one address."""
    key = seed & MASK, seed >> 32
    hi, lo = (philox((t, n >> 2, s, plane), key)[n & 3] for plane in (0, 1))
    return (2 * (hi * 2**20 + (lo >> 12)) + 1) * 2.0**-53


def cdf(k: int, m: float, phi: float) -> float:
    """F(k; m, phi), never forming 1 - p."""
    if k < 0:
        return 0.0
    if math.isinf(phi):
        return float(special.pdtr(k, m))
    if phi < m:
        return float(special.betainc(phi, k + 1, phi / (phi + m)))
    return float(special.betaincc(k + 1, phi, m / (phi + m)))


def quantile(m: float, phi: float, u: float) -> int:
    """The smallest k of which F(k) >= u, by bisection."""
    if m == 0:
        return 0
    low, high = -1, int(m) + 1
    while cdf(high, m, phi) < u:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cdf(middle, m, phi) >= u else (middle, high)
    return high


def counts(seed: int, arrays: dict[str, Any], address: tuple[Any, Any, Any]) -> NDArray[np.int64]:
    """Counts at the lists of samples, cells and features in `address`; `arrays` are `Posterior.from_arrays`'s."""
    mu, phi, alpha = (np.asarray(arrays[name], dtype=np.float64) for name in ("mu", "phi", "alpha"))
    size_factor, group = arrays["size_factor"], arrays["group"]
    made = np.empty([len(index) for index in address], dtype=np.int64)
    for i, s in enumerate(address[0]):
        for j, n in enumerate(address[1]):
            for k, t in enumerate(address[2]):
                m = (float(mu[s, t]) * float(alpha[s, group[n], t])) * float(size_factor[n])
                made[i, j, k] = quantile(m, float(phi[s, t]), uniform(seed, int(s), int(n), int(t)))
    return made
