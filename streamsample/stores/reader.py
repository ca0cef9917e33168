"""Reading any part of stored counts: only what holds it is read and decoded, and each chunk once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import CorruptSlab, MissingExtra, StoreError
from streamsample.geometry import IndexArray, Shape
from streamsample.parameters import Names, names_array
from streamsample.stores.base import CountArray, Labels, Stored
from streamsample.stores.chunk_reader import ChunkedStored
from streamsample.stores.codecs import codec_of
from streamsample.stores.raw import RawStored

Positions = tuple[IndexArray, IndexArray, IndexArray]
"""Of samples, cells and features; each rises, and none is empty."""


class Reader(Protocol):
    """Reads parts of one output."""

    chunks: Shape | None
    """Sizes of what is decoded at once; None: the counts lie as they are."""

    def read(self, positions: Positions) -> CountArray:
        """Read the counts (s, n, t); raises `StoreError` where they can't be."""


class MappedReader:
    """Counts that lie as they are in a file, of which only the pages touched are read."""

    chunks: Shape | None = None

    def __init__(self, stored: RawStored) -> None:
        self._stored = stored

    def read(self, positions: Positions) -> CountArray:
        """Copy from a map of the file."""
        extent = self._stored.extent
        manifest = extent.manifest
        try:
            mapped = np.memmap(self._stored.path, manifest.dtype, "r", extent.offset, manifest.shape)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._stored.path} is cut short, or gone: {error}") from error
        return _choose(mapped, positions)


class ChunkReader:
    """Counts in encoded chunks."""

    def __init__(self, stored: ChunkedStored) -> None:
        self.chunks: Shape | None = stored.chunking.chunks
        self._stored = stored

    def read(self, positions: Positions) -> CountArray:
        """Decode each chunk that holds some of the counts."""
        stored, (samples, cells, features) = self._stored, positions
        _, ncells, nfeatures = stored.chunking.chunks
        counts = np.empty([index.size for index in positions], dtype=stored.manifest.dtype)  # (s, n, t)
        chunk = np.empty((1, ncells, nfeatures), dtype=counts.dtype)
        codec = codec_of(stored.chunking.codec, stored.path)
        with stored.chunks() as fetch:
            for place, s in enumerate(samples):
                for i, n in _by_chunk(cells, ncells):
                    for j, t in _by_chunk(features, nfeatures):
                        try:
                            codec.decode(fetch(int(s), i, j), chunk[0])
                        except ValueError as error:
                            raise CorruptSlab(
                                f"{stored.path}: the chunk of sample {s}, cells from {i * ncells}, features from "
                                f"{j * nfeatures} can't be decoded ({error}); write the file again"
                            ) from error
                        within = np.zeros(1, dtype=np.int64), cells[n] - i * ncells, features[t] - j * nfeatures
                        counts[place, n, t] = _choose(chunk, within)[0]
        return counts


def reader_of(stored: Stored) -> Reader:
    """Choose the reader of an output that a store has opened."""
    if isinstance(stored, RawStored):
        return MappedReader(stored)
    if isinstance(stored, ChunkedStored):
        return ChunkReader(stored)
    raise TypeError(f"no reader for {type(stored).__name__}")


def read_labels(path: Path) -> Labels:
    """Read the names of the cells and features that a file of counts has."""
    if path.suffix == ".npy":
        items = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        return Labels(names_array(items["cell_names"]), names_array(items["feature_names"]))
    if path.suffix == ".zarr":
        try:
            import zarr
        except ImportError:
            raise MissingExtra("names in a .zarr need zarr; pip install 'streamsample[zarr]'") from None
        group: Any = zarr.open_group(path, mode="r")
        return Labels(*(_text(group[axis][:]) for axis in ("cell", "feature")))
    import h5py

    with h5py.File(path, "r") as file:
        scales = [file[axis] for axis in ("cell", "feature")]
        return Labels(*(_text(scale.asstr()[:] if scale.dtype.kind == "O" else scale[:]) for scale in scales))


def _text(values: Any) -> Names | None:
    """Names; None for what are indices, as there are no names."""
    return None if values.dtype.kind in "iu" else names_array(values)


def _is_range(index: IndexArray) -> bool:
    """Tell positions without gaps."""
    return int(index[-1] - index[0]) + 1 == index.size


def _choose(array: NDArray[Any], positions: Positions) -> CountArray:
    """Copy an outer choice, by plain ranges where there are no gaps."""
    # One axis at a time, the slowest first: a pairwise index over three axes is several times slower.
    s, n, t = (slice(index[0], index[-1] + 1) if _is_range(index) else index for index in positions)
    return np.array(array[s][:, n][:, :, t], order="C", subok=False)


def _by_chunk(index: IndexArray, size: int) -> Iterator[tuple[int, slice]]:
    """Cut rising positions into runs that lie in one chunk each: the chunk's number, and the run."""
    cuts = (np.flatnonzero(np.diff(index // size)) + 1).tolist()
    for a, b in zip([0, *cuts], [*cuts, index.size], strict=True):
        yield int(index[a]) // size, slice(a, b)
