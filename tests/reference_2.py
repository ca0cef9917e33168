"""Stream version 2 in plain Python floats and mpmath: short, slow, and without a line of the package."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from tests.reference import uniform

LN2_HI, LN2_LO, INV_LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 1.4426950408889634


def exponential(x: float) -> float:
    """E, by Horner's scheme over 1/k!."""
    if math.isnan(x) or abs(x) > 690:
        return math.nan if math.isnan(x) else math.inf if x > 0 else 0.0
    n = float(math.floor(x * INV_LN2 + 0.5))
    r = (x - n * LN2_HI) - n * LN2_LO
    p = 1 / math.factorial(13)
    for k in range(12, 2, -1):
        p = 1 / math.factorial(k) + r * p
    return math.ldexp(1.0 + (r + (r * r) * (0.5 + r * p)), int(n))


def mean(arrays: dict[str, Any], s: int, n: int, t: int) -> float:
    """m of one address; `arrays` are `Posterior.from_arrays`'s, the design dense, and may lack parts."""
    m = 1.0 if "mu" not in arrays else float(arrays["mu"][s, t])
    m *= 1.0 if "alpha" not in arrays else float(arrays["alpha"][s, arrays["group"][n], t])
    if "beta" in arrays:
        eta = 0.0
        for k in range(arrays["beta"].shape[1]):
            eta += float(arrays["design"][n, k]) * float(arrays["beta"][s, k, t])
        m *= exponential(eta)
    return m * float(arrays["size_factor"][n])


def quantile(m: float, phi: float, pi: float, u: float) -> int:
    """The smallest k of which pi + (1 - pi) F(k) >= u, F added up term by term with 400 bits."""
    if m == 0:
        return 0
    with mpmath.workprec(400):
        mean, total = mpmath.mpf(m), mpmath.mpf(phi)
        poisson = mpmath.isinf(total)
        term = mpmath.exp(-mean) if poisson else (total / (total + mean)) ** total
        cdf, k = term, 0
        while pi + (1 - mpmath.mpf(pi)) * cdf < u:
            term *= mean / (k + 1) if poisson else (total + k) / (k + 1) * mean / (total + mean)
            cdf, k = cdf + term, k + 1
        return k


def counts(seed: int, arrays: dict[str, Any], address: tuple[Any, Any, Any]) -> NDArray[np.int64]:
    """Counts at the lists of samples, cells and features in `address`."""
    made = np.empty([len(index) for index in address], dtype=np.int64)
    for i, s in enumerate(address[0]):
        for j, n in enumerate(address[1]):
            for k, t in enumerate(address[2]):
                pi = float(arrays["zero_inflation"][s, t]) if "zero_inflation" in arrays else 0.0
                u = uniform(seed, int(s), int(n), int(t))
                made[i, j, k] = quantile(mean(arrays, s, n, t), float(arrays["phi"][s, t]), pi, u)
    return made
