"""Counts as xarray sees them."""

from __future__ import annotations

from typing import Any

from streamsample.counts import Counts
from streamsample.errors import MissingExtra
from streamsample.geometry import AXES
from streamsample.interop.lazy import VARIABLE, Outer, coordinates, of_counts

try:
    import xarray
    from xarray.backends import BackendArray
    from xarray.core import indexing
except ImportError:
    raise MissingExtra("a view in xarray needs xarray; pip install 'streamsample[xarray]'") from None


class Backend(BackendArray):
    """A lazy array in the form that xarray asks for; what it calls when values are wanted."""

    def __init__(self, array: Outer) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self._array = array

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Make a part."""
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._array.__getitem__)


def variable(array: Outer, dims: tuple[str, ...]) -> xarray.Variable:
    """Wrap a lazy array; indexing stays lazy until values are asked for."""
    return xarray.Variable(dims, indexing.LazilyIndexedArray(Backend(array)))


def to_xarray(counts: Counts) -> xarray.DataArray:
    """View counts as a lazy `xarray.DataArray`; see `Counts.to_xarray`."""
    labels = {axis: (axis, values) for axis, values in coordinates(counts).items()}
    view = xarray.DataArray(variable(of_counts(counts), AXES), labels, name=VARIABLE)
    view.encoding["preferred_chunks"] = dict(zip(AXES, counts.piece, strict=True))  # of open_dataset(chunks={})
    return view
