"""The compiled twin (ext/_twin.pyx), for type checkers."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

def words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]: ...
def uniform(seed: int, sample: int, cell: int, feature: int) -> float: ...
def tails(k: float, m: float, phi: float) -> tuple[float, float, float]: ...
def quantiles(m: Floats, phi: Floats, u: Floats, counts: Integers, status: Bytes) -> None: ...
def fill(
    seed: int,
    samples: Integers,
    cells: Integers,
    features: Integers,
    mu: Floats,
    alpha: Floats,
    size_factor: Floats,
    phi: Floats,
    m: Floats,
    u: Floats,
    counts: Integers,
    status: Bytes,
) -> None: ...
