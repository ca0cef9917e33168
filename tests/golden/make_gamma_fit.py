"""Write ``streamsample/kernels/gamma_fit.py``: ``python -m tests.golden.make_gamma_fit``.

The quantile w of Gamma(phi) is nearly the cube of a straight line in the normal quantile z (Wilson and Hilferty), so
``(w / phi)**(1/3)`` is fitted over z and ``phi**-1/2``; z itself over ``-log(4 u (1 - u))``. Below LEAST_PHI the cube
root bends too much, and ``phi log(w)`` is fitted over z and ``phi**1/2``, from such z upwards that w is not tiny.
All by Chebyshev interpolation of SciPy's values, and written as powers, which are evaluated without a recurrence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv, ndtr, ndtri

Array = NDArray[np.float64]

LARGEST_Z, LEAST_PHI = 3.4, 1.2
LARGEST_DEPTH = 6.61  # -log(4 u (1 - u)) where |z| = 3.4
SKEWED_PHI = 0.05  # least phi of the second fit
SKEWED_Z = 1.25, -5.4, 1.0  # the z from which it holds, as powers of phi**1/2: w is near 1e-5 there
DEGREE_Z, DEGREE_ROOT, DEGREE_DEPTH = 18, 16, 14
DEGREE_SKEWED_Z = 24
NODES = 60
TARGET = Path(__file__).parents[2] / "streamsample" / "kernels" / "gamma_fit.py"


def cube_root(z: Array, root: Array) -> Array:
    """``(w / phi)**(1/3)`` at the normal quantile z, for ``phi = root**-2``."""
    phi, tail = root**-2.0, ndtr(-np.abs(z))
    return np.asarray(np.cbrt(np.where(z < 0, gammaincinv(phi, tail), gammainccinv(phi, tail)) / phi))


def log_quantile(z: Array, root: Array) -> Array:
    """``phi log(w)`` at the normal quantile z, for ``phi = root**2``."""
    phi, tail = root * root, ndtr(-np.abs(z))
    w = np.where(z < 0, gammaincinv(phi, tail), gammainccinv(phi, tail))
    return np.asarray(phi * np.log(w))


def least_z(root: Array) -> Array:
    """The z from which the second fit holds, for ``phi = root**2``."""
    return np.asarray(SKEWED_Z[0] + root * (SKEWED_Z[1] + root * SKEWED_Z[2]))


def slope(depth: Array) -> Array:
    """``z / (2 u - 1)``, a function of ``depth = -log(4 u (1 - u))`` alone."""
    y = np.sqrt(-np.expm1(-depth))
    return np.asarray(-ndtri(np.exp(-depth) / (1.0 + y) / 2.0) / y)


def nodes() -> Array:
    """Chebyshev's nodes in [-1, 1]."""
    return np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)


def powers(series: Array) -> Array:
    """Coefficients of powers for Chebyshev coefficients along the first axis."""
    size = len(series)
    change = np.zeros((size, size))  # (Chebyshev, powers)
    for i, row in enumerate(np.eye(size)):
        terms = chebyshev.cheb2poly(row[: i + 1])
        change[i, : terms.size] = terms
    return change.T @ series


def fit_quantile() -> Array:
    """(DEGREE_Z + 1, DEGREE_ROOT + 1) coefficients of powers of ``z / LARGEST_Z`` and ``2 root / largest - 1``."""
    x, largest = nodes(), LEAST_PHI**-0.5
    root = np.maximum(0.5 * largest * (1.0 + x), 2e-3)
    return fit(x, 2.0 * root / largest - 1.0, cube_root(LARGEST_Z * x[:, None], root[None, :]), DEGREE_Z)


def fit_skewed() -> Array:
    """(DEGREE_SKEWED_Z + 1, DEGREE_ROOT + 1) likewise, of z between `least_z` and LARGEST_Z, and of phi**1/2."""
    x, (low, high) = nodes(), (SKEWED_PHI**0.5, LEAST_PHI**0.5)
    root = low + 0.5 * (high - low) * (1.0 + x)
    z = least_z(root) + 0.5 * (LARGEST_Z - least_z(root)) * (1.0 + x[:, None])
    return fit(x, x, log_quantile(z, root[None, :]), DEGREE_SKEWED_Z)


def fit(x: Array, y: Array, values: Array, degree: int) -> Array:
    """Coefficients of powers of x up to `degree`, and of y, for values at (x, y)."""
    along = chebyshev.chebfit(x, values, degree)
    return powers(powers(chebyshev.chebfit(y, along.T, DEGREE_ROOT).T).T).T


def fit_slope() -> Array:
    """(DEGREE_DEPTH + 1,) coefficients of powers of ``2 depth / LARGEST_DEPTH - 1``."""
    x = nodes()
    return powers(chebyshev.chebfit(x, slope(0.5 * LARGEST_DEPTH * (1.0 + x)), DEGREE_DEPTH))


def literal(values: Array) -> str:
    """Numbers as Python source, a few on a line."""
    numbers = [repr(float(value)) for value in values]
    lines = [", ".join(numbers[i : i + 4]) for i in range(0, len(numbers), 4)]
    return "(\n        " + ",\n        ".join(lines) + ",\n    )"


def main() -> None:
    """Write the file."""
    quantile, skewed = (",\n    ".join(literal(row) for row in made()) for made in (fit_quantile, fit_skewed))
    TARGET.write_text(
        f'''"""Coefficients of the gamma quantile; written by ``python -m tests.golden.make_gamma_fit``, not by hand."""

import numpy as np

LARGEST_Z, LEAST_PHI, LARGEST_DEPTH = {LARGEST_Z}, {LEAST_PHI}, {LARGEST_DEPTH}
# (z, root of 1/phi), powers ascending
QUANTILE = np.array([
    {quantile},
])  # fmt: skip
SKEWED_PHI = {SKEWED_PHI}
SKEWED_Z = {SKEWED_Z}  # powers of the root of phi, ascending
# (z, root of phi), powers ascending
SKEWED = np.array([
    {skewed},
])  # fmt: skip
SLOPE = np.array(
    {literal(fit_slope())}
)  # fmt: skip
''',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
