"""One way to read counts ``[S, N, T]``, whether they are computed or lie in a file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import SelectionError
from streamsample.geometry import AXES, IndexArray, Selection, Shape, once, resolve
from streamsample.names import positions_of
from streamsample.parameters import Names

if TYPE_CHECKING:
    import dask.array
    import xarray
    from anndata import AnnData

    from streamsample.posterior import Posterior

PIECE_NBYTES = 128 * 2**20  # Dask's own default


class Counts(ABC):
    """A read-only array of counts ``y[S, N, T]`` with names, of which only what is asked for is made or read.

    It behaves like a NumPy array: ``counts[3, 100:200, ::7]`` gives exactly these counts. `CountStream` computes
    them, `StoredCounts` reads them from a file.
    """

    ndim = 3

    dtype: np.dtype[Any]
    """Integer type of what is read."""
    selection: Selection
    """Samples, cells and features, as indices into the posterior that the counts are of."""

    @property
    @abstractmethod
    def names(self) -> tuple[Names | None, Names | None]:
        """Names of the cells (N,) and of the features (T,), where there are any."""

    @property
    def _rows(self) -> int:
        """Cells of a piece are a multiple of this: four share their random numbers."""
        return 4

    @abstractmethod
    def _read(self, samples: IndexArray, cells: IndexArray, features: IndexArray) -> NDArray[Any]:
        """Return the counts (s, n, t) at positions that rise along each axis."""

    @property
    def shape(self) -> Shape:
        """Sizes (S, N, T)."""
        return self.selection.shape

    @property
    def size(self) -> int:
        """Number of counts."""
        nsamples, ncells, nfeatures = self.shape
        return nsamples * ncells * nfeatures

    @property
    def chunks(self) -> Shape:
        """Sizes of what can't be made in parts: what a file encodes as one, else `piece`."""
        return self.piece

    @property
    def piece(self) -> Shape:
        """Sizes of a piece that is one run in C order: whole samples, or some cells of one; at most 128 MiB."""
        nsamples, ncells, nfeatures = self.shape
        rows = max(1, PIECE_NBYTES // max(1, nfeatures * self.dtype.itemsize) // self._rows) * self._rows
        if rows < ncells:
            return 1, rows, nfeatures
        return min(max(1, nsamples), max(1, rows // max(1, ncells))), ncells, nfeatures

    def __len__(self) -> int:
        """Return S."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Make every count."""
        if copy is False:
            raise ValueError("counts are computed or read, so that their array is always new; don't ask for copy=False")
        counts: NDArray[Any] = self[:]
        return counts if dtype is None else counts.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        """Make the counts of a slice.

        Integers, slices, masks and index arrays select along their own axis each (as ``numpy.ix_``, not pairwise);
        integers drop their axis.

        Returns
        -------
        numpy.ndarray or a NumPy integer
            Counts of type `dtype`.
        """
        keys, scalar = _keys(key)
        wanted = [resolve(k, size, axis) for k, size, axis in zip(keys, self.shape, AXES, strict=True)]
        # Each index once and in order, then as asked for: so repeats cost nothing and quads stay together.
        rising = [once(index) for index in wanted]
        counts = self._read(*rising)  # (s, n, t)
        for axis, (index, unique) in enumerate(zip(wanted, rising, strict=True)):
            if index is not unique:
                counts = np.take(counts, np.searchsorted(unique, index), axis=axis)
        return counts[tuple(0 if s else slice(None) for s in scalar)]

    def sel(self, sample: Any = None, cell: Any = None, feature: Any = None) -> Any:
        """Make counts chosen by name: ``counts.sel(feature="STAT1")`` is ``[S, N]``.

        Parameters
        ----------
        sample, cell, feature
            A name or a list of names; or anything that `__getitem__` takes. Samples have numbers only.

        Raises
        ------
        SelectionError
            If a name is unknown.
        """
        keys = [
            positions_of(key, known, np.arange(size), axis)
            for key, known, size, axis in zip(
                (sample, cell, feature), (None, *self.names), self.shape, AXES, strict=True
            )
        ]
        return self[tuple(slice(None) if key is None else key for key in keys)]

    # The views below point up the layers, as they must: the public face has them here, their makers are adapters.

    def to_xarray(self) -> xarray.DataArray:
        """View as a lazy `xarray.DataArray` with dimensions ``sample``, ``cell`` and ``feature``, and names.

        Raises
        ------
        MissingExtra
            If xarray is not installed.
        """
        from streamsample.interop.xarray_view import to_xarray

        return to_xarray(self)

    def to_dask(self, chunks: Any = None) -> dask.array.Array:
        """View as a Dask array.

        Parameters
        ----------
        chunks
            As `dask.array.from_array` takes them; `piece` if left out.

        Raises
        ------
        MissingExtra
            If Dask is not installed.
        """
        from streamsample.interop.lazy import to_dask

        return to_dask(self, chunks)

    def to_datatree(
        self,
        sample_dims: Sequence[str] = ("chain", "draw"),
        *,
        chains: int = 1,
        observed: Any = None,
        posterior: Posterior | None = None,
        layer: str | None = None,
    ) -> xarray.DataTree:
        """View as the tree of groups that ArviZ works with, lazily.

        Group ``posterior_predictive`` holds ``counts``, ``observed_data`` the observed ones under the same name, and
        ``constant_data`` the size factors, groups and design of the cells. Counts are of a signed type (int32, or int64
        for uint32), which ArviZ's plots ask for.

        Parameters
        ----------
        sample_dims
            ``("chain", "draw")``; or ``("sample",)``, as variational posteriors have it.
        chains
            Chains, of equal length, that the samples are of, one after the other.
        observed
            Observed counts: an AnnData object, the path of an ``.h5ad`` file (both joined by name), or an array (N, T).
            They are read when they are asked for, and checked to be counts.
        posterior
            Whose cells ``constant_data`` describes; a stream has one, a file has not.
        layer
            Layer of the AnnData that holds the counts; if left out, the fit's, or ``X`` where that one is not there and
            ``X`` holds counts, or no posterior tells of a fit.

        Raises
        ------
        SelectionError
            If the samples do not divide into the chains.
        DataError
            If observed counts do not fit, have names that occur twice, or are no counts.
        """
        from streamsample.interop.datatree import to_datatree

        return to_datatree(self, tuple(sample_dims), chains, observed, posterior, layer)

    def to_anndata(self, samples: Any = (0,)) -> AnnData:
        """Copy some samples into an `anndata.AnnData`, as sparse layers ``ppc_0``, ``ppc_7``...

        Parameters
        ----------
        samples
            Positions, or a slice; a layer is called by its sample's number in the posterior.

        Returns
        -------
        AnnData
            N x T with names, no ``X``, and of a stream the cells' ``size_factor`` and ``group`` in ``obs``, and their
            ``design`` in ``obsm``, where they have one.
        """
        from streamsample.interop.tables import to_anndata

        return to_anndata(self, samples)

    def export(self, path: str | os.PathLike[str], *, samples: Any = None, overwrite: bool = False) -> None:
        """Copy into another tool's file: ``.h5ad``, ``.nc`` (netCDF 4) or ``.npy``; complete or not at all.

        Parameters
        ----------
        path
            The file.
        samples
            Positions, a slice, or ``"a:b"``; all if left out.
        overwrite
            Whether a file of that name may be replaced.

        Raises
        ------
        OutputExists, StoreError
            If the file may not or can't be written.
        """
        from streamsample.interop.export import export

        export(self, path, samples=samples, overwrite=overwrite)


def _keys(key: Any) -> tuple[list[Any], list[bool]]:
    """Write a key out for three axes, and say which of them are integers."""
    keys = list(key) if isinstance(key, tuple) else [key]
    ellipses = [i for i, k in enumerate(keys) if k is Ellipsis]
    if ellipses:
        keys[ellipses[0] : ellipses[0] + 1] = [slice(None)] * (4 - len(keys))
    if len(keys) > 3 or len(ellipses) > 1 or any(k is None for k in keys):
        raise SelectionError(f"counts have 3 axes (sample, cell, feature); the key {key!r} does not fit them")
    if any(isinstance(k, str) for k in keys):
        raise SelectionError(f"the key {key!r} is a name; read it with .sel(feature=...)")
    keys += [slice(None)] * (3 - len(keys))
    return keys, [np.ndim(k) == 0 and not isinstance(k, slice) for k in keys]
