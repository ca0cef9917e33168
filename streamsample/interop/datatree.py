"""Counts in the groups that ArviZ works with, each of them lazy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample import __version__
from streamsample.counts import Counts
from streamsample.errors import SelectionError
from streamsample.geometry import resolve
from streamsample.interop.lazy import VARIABLE, Outer, coordinates, of_counts
from streamsample.interop.observed import observed_counts
from streamsample.interop.xarray_view import variable
from streamsample.stream import CountStream

if TYPE_CHECKING:
    import xarray

    from streamsample.designs import Design
    from streamsample.posterior import Posterior


def to_datatree(
    counts: Counts,
    sample_dims: tuple[str, ...],
    chains: int,
    observed: Any,
    posterior: Posterior | None,
    layer: str | None = None,
) -> xarray.DataTree:
    """Arrange counts, and what they are compared with, for ArviZ; see `Counts.to_datatree`."""
    import xarray

    labels = coordinates(counts)
    cells = {axis: (axis, labels[axis]) for axis in ("cell", "feature")}
    groups = {"posterior_predictive": _predictive(counts, sample_dims, chains, cells)}
    if posterior is None and isinstance(counts, CountStream):
        posterior = counts.posterior
    if observed is not None:
        array = variable(observed_counts(observed, counts, posterior, layer), ("cell", "feature"))
        groups["observed_data"] = xarray.Dataset({VARIABLE: array}, cells)
    if posterior is not None:
        groups["constant_data"] = xarray.Dataset(_constant(posterior, counts), _named(posterior, cells["cell"]))
    for group in groups.values():
        group.attrs = _attributes()
    return xarray.DataTree.from_dict(groups)


def _predictive(counts: Counts, sample_dims: tuple[str, ...], chains: int, cells: dict[str, Any]) -> xarray.Dataset:
    """Group ``posterior_predictive``, samples along one dimension or along chains and draws."""
    import xarray

    nsamples = len(counts)
    if len(sample_dims) == 1:
        lengths: tuple[int, ...] = (nsamples,)
        array = _signed(of_counts(counts))
    elif len(sample_dims) == 2:
        if chains < 1 or nsamples % chains:
            raise SelectionError(f"{nsamples} samples do not divide into {chains} chains of equal length; give chains=")
        lengths = chains, nsamples // chains
        array = _by_chain(_signed(of_counts(counts)), lengths)
    else:
        raise SelectionError(f"sample_dims is {sample_dims}; give two names, such as ('chain', 'draw'), or one")
    labels = {dim: (dim, np.arange(length)) for dim, length in zip(sample_dims, lengths, strict=True)}
    return xarray.Dataset({VARIABLE: variable(array, (*sample_dims, "cell", "feature"))}, {**labels, **cells})


def _signed(array: Outer) -> Outer:
    """Counts in a signed type that holds them: ArviZ's plots of counts take differences, and refuse other types."""
    dtype = np.dtype(np.int64 if array.dtype.itemsize > 2 else np.int32)
    return Outer(array.shape, dtype, lambda key: array[key].astype(dtype))


def _by_chain(array: Outer, lengths: tuple[int, ...]) -> Outer:
    """See samples (S, n, t) as chains and draws (chain, draw, n, t), chain after chain."""
    nchains, ndraws = lengths

    def read(key: tuple[Any, ...]) -> NDArray[Any]:
        chain, draw = (resolve(k, n, axis) for k, n, axis in zip(key, lengths, ("chain", "draw"), strict=False))
        samples = (chain[:, None] * ndraws + draw).ravel()
        made = array[(samples, *key[2:])]
        made = made.reshape(chain.size, draw.size, *made.shape[1:])
        return made[tuple(0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None) for k in key[:2])]

    return Outer((nchains, ndraws, *array.shape[1:]), array.dtype, read)


def _constant(posterior: Posterior, counts: Counts) -> dict[str, Any]:
    """Group ``constant_data``: what is known of each cell."""
    chosen, of, names = counts.selection.cells, posterior.cells, posterior.facts.group_names
    if chosen.size and int(chosen.max()) >= of.size_factor.size:
        raise SelectionError(
            f"the counts are of cell {int(chosen.max())} but the posterior has {of.size_factor.size} cells; "
            "give the posterior that they were made from"
        )
    group = of.group[chosen]
    found: dict[str, Any] = {
        "size_factor": ("cell", of.size_factor[chosen]),
        "group": ("cell", group if names is None else names[group].astype(object)),
    }
    if of.design is not None:
        found["design"] = variable(_rows_of(of.design.take(chosen)), ("cell", "covariate"))
    return found


def _named(posterior: Posterior, cells: Any) -> dict[str, Any]:
    """Names of cells and covariates."""
    names = posterior.facts.covariate_names
    return {"cell": cells} | ({} if names is None else {"covariate": ("covariate", names.astype(object))})


def _rows_of(design: Design) -> Outer:
    """A design (N, K) of which only what is asked for is written out."""

    def read(key: tuple[Any, ...]) -> NDArray[Any]:
        cells = resolve(key[0], design.shape[0], "cell")
        part = design.take(cells).to_array()[:, key[1]]
        return part[0] if np.ndim(key[0]) == 0 and not isinstance(key[0], slice) else part

    return Outer(design.shape, np.dtype(np.float64), read)


def _attributes() -> dict[str, str]:
    """What ArviZ notes of each group."""
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "inference_library": "streamsample",
        "inference_library_version": __version__,
    }
