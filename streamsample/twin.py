"""Counts by the twin: a second implementation of the stream, compiled ahead of time and without Numba.

It starts at once where the kernels take seconds to compile, but needs some ten microseconds a count: for a few thousand
counts, for checking what the kernels have written, and for machines on which Numba can't run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.cells import Cells
from streamsample.errors import CountOverflow, MissingExtra, PosteriorError, SelectionError
from streamsample.exact import settle
from streamsample.geometry import AXES, IndexArray, minibatches
from streamsample.parameters import FloatArray, Parameters

if TYPE_CHECKING:
    from streamsample.stream import CountStream

UNDECIDED, OVERFLOW, OUTSIDE = 1, 2, 3
FEW = 4096  # counts that take a tenth of a second, in which Numba has not even been imported
AT_ONCE = 2**14  # counts whose addresses and parameters are written out, 120 bytes for each


def built() -> bool:
    """Whether streamsample was installed with its compiled part."""
    try:
        _load()
    except MissingExtra:
        return False
    return True


def is_quicker(ncounts: int) -> bool:
    """Whether so few counts are wanted that the kernels are best not loaded for them."""
    return ncounts <= FEW and "streamsample.kernels.slab" not in sys.modules and built()


def counts(stream: CountStream, samples: Any, cells: Any, features: Any) -> NDArray[np.uint32]:
    """Compute counts at addresses.

    Parameters
    ----------
    stream
        Names posterior and seed; its selection does not matter.
    samples, cells, features
        Arrays of indices into the posterior's axes, broadcast against each other: three arrays of one length are
        addresses, ``numpy.ix_(samples, cells, features)`` is a block.

    Returns
    -------
    numpy.ndarray
        uint32, of the shape that the indices broadcast to.

    Raises
    ------
    CountOverflow
        If a count is above 2**32 - 1; names its sample, cell and feature.
    MissingExtra
        If streamsample was installed without its compiled part.
    PosteriorError
        If the design gives a mean outside the stream's domain; names its sample, cell and feature.
    SelectionError
        If an index is out of bounds.
    """
    posterior = stream.posterior
    address = np.broadcast_arrays(*(np.asarray(index, dtype=np.int64) for index in (samples, cells, features)))
    for axis, index, size in zip(AXES, address, posterior.shape, strict=True):
        wrong = (index < 0) | (index >= size)
        if wrong.any():
            raise SelectionError(f"{axis} {int(index[wrong].flat[0])} is out of bounds: the axis has {size}")
    s, n, t = (np.ravel(index) for index in address)
    out = np.empty(s.size, dtype=np.uint32)
    rows, row = np.unique(s, return_inverse=True)
    columns, column = np.unique(t, return_inverse=True)
    # A run of samples at a time, so that addresses that are strewn over a large posterior don't need all of it.
    for a, b in minibatches(rows.size, posterior.samples_per_read()):
        parameters = posterior.read(rows[a:b], columns)
        here = np.flatnonzero((row >= a) & (row < b))
        for c, d in minibatches(here.size, AT_ONCE):
            chosen = here[c:d]
            out[chosen] = _compute(
                stream.seed, (s[chosen], n[chosen], t[chosen]), parameters, row[chosen] - a, column[chosen],
                posterior.cells, out.dtype,
            )  # fmt: skip
    return out.reshape(address[0].shape)


def fill(
    seed: int,
    samples: IndexArray,
    cells: IndexArray,
    features: IndexArray,
    parameters: Parameters,
    of: Cells,
    out: NDArray[Any],
) -> None:
    """Fill a slab of counts, as `streamsample.slab_work.fill` does.

    Parameters
    ----------
    seed
        In [0, 2**64).
    samples, cells, features
        (s,), (n,) and (t,) indices into the posterior's axes.
    parameters
        Draws of these samples and features.
    of
        All cells of the posterior.
    out
        (s, n, t) of uint8, uint16 or uint32, in C order.

    Raises
    ------
    CountOverflow
        If a count does not fit `out`; names its sample, cell and feature.
    MissingExtra
        If streamsample was installed without its compiled part.
    PosteriorError
        If the design gives a mean outside the stream's domain; names its sample, cell and feature.
    """
    flat = out.reshape(-1)
    for a, b in minibatches(out.size, AT_ONCE):
        row, cell, column = np.unravel_index(np.arange(a, b), out.shape)
        address = samples[row], cells[cell], features[column]
        flat[a:b] = _compute(seed, address, parameters, row, column, of, out.dtype)


def _compute(
    seed: int,
    address: tuple[IndexArray, IndexArray, IndexArray],
    parameters: Parameters,
    row: IndexArray,
    column: IndexArray,
    cells: Cells,
    dtype: np.dtype[Any],
) -> IndexArray:
    """Counts at addresses; row and column are where `parameters` has their sample and feature."""
    twin = _load()
    s, n, t = (np.ascontiguousarray(index) for index in address)
    phi: FloatArray = parameters.phi[row, column]
    alpha = parameters.alpha[row, cells.group[n], column]
    pi = None if parameters.zero_inflation is None else parameters.zero_inflation[row, column]
    eta = _predictors(twin, n, parameters, row, column, cells)
    m, u = np.empty((2, s.size))
    made, status = np.empty(s.size, dtype=np.int64), np.empty(s.size, dtype=np.uint8)
    twin.fill(seed, s, n, t, parameters.mu[row, column], alpha, cells.size_factor[n], phi, pi, eta, m, u, made, status)
    for i in np.flatnonzero(status == UNDECIDED):
        inflation = 0.0 if pi is None else float(pi[i])
        made[i] = settle(float(m[i]), float(phi[i]), float(u[i]), int(made[i]), inflation)
    most = int(np.iinfo(dtype).max)
    refused = np.flatnonzero((status == OUTSIDE) | (status == OVERFLOW) | (made > most))
    if refused.size:
        i = refused[0]
        where = int(s[i]), int(n[i]), int(t[i])
        if status[i] == OUTSIDE:
            raise PosteriorError.mean_at(where, float(m[i]))
        raise CountOverflow.at(where, float(m[i]), float(phi[i]), float(u[i]), dtype.name, most)
    return made


def _predictors(
    twin: Any, cell: IndexArray, parameters: Parameters, row: IndexArray, column: IndexArray, cells: Cells
) -> FloatArray | None:
    """Linear predictors (eta) of addresses, None where there is no design."""
    if cells.design is None or parameters.beta is None:
        return None
    eta = np.empty(cell.size)
    some, place = np.unique(cell, return_inverse=True)  # rows are taken for the cells at hand, not for all
    at = (np.ascontiguousarray(index, dtype=np.int64) for index in (row, column))
    twin.predictors(*cells.design.take(some).rows(), place, parameters.beta, *at, eta)
    return eta


def _load() -> Any:
    """Import the compiled part, or say what to install."""
    try:
        import streamsample._twin as compiled
    except ImportError as error:
        raise MissingExtra(
            f"streamsample was installed without its compiled part ({error}); install a C compiler and Python's "
            "headers (apt install gcc python3-dev), then: pip install --force-reinstall --no-deps streamsample"
        ) from error
    return compiled
