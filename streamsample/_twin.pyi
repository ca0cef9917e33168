"""The compiled twin (ext/_twin.pyx), for type checkers."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

def words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]: ...
def uniform(seed: int, sample: int, cell: int, feature: int) -> float: ...
def tails(k: float, m: float, phi: float) -> tuple[float, float, float]: ...
def exponential(x: float) -> float: ...
def quantiles(m: Floats, phi: Floats, u: Floats, counts: Integers, status: Bytes, pi: Floats | None = None) -> None: ...
def predictors(
    indptr: Integers,
    indices: Integers,
    data: Floats,
    cells: Integers,
    beta: Floats,
    rows: Integers,
    columns: Integers,
    eta: Floats,
) -> None: ...
def fill(
    seed: int,
    samples: Integers,
    cells: Integers,
    features: Integers,
    mu: Floats,
    alpha: Floats,
    size_factor: Floats,
    phi: Floats,
    pi: Floats | None,
    eta: Floats | None,
    m: Floats,
    u: Floats,
    counts: Integers,
    status: Bytes,
) -> None: ...
