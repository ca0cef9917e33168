"""Which samples, cells and features are asked for, and in which pieces they are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import SelectionError

IndexArray = NDArray[np.int64]
Shape = tuple[int, int, int]

AXES = ("sample", "cell", "feature")

QUAD = 4
"""Cells that share random words; a slab within a sample is a whole number of them."""


def resolve(index: Any, size: int, axis: str) -> IndexArray:
    """Turn anything that NumPy takes as an index of one axis into an index array.

    Parameters
    ----------
    index
        ``None`` (everything), an integer, a slice, a text ``"a:b"`` or ``"a:b:step"``,
        a boolean mask of length `size`, or a sequence of integers. Negative integers
        count from the end.
    size
        Length of the axis.
    axis
        Its name, for errors.

    Raises
    ------
    SelectionError
        If an index is out of bounds, is not an integer, or the selection is empty of sense.
    """
    if index is None:
        return np.arange(size, dtype=np.int64)
    if isinstance(index, str):
        index = _parse(index, axis)
    if isinstance(index, slice):
        return np.arange(size, dtype=np.int64)[index]
    chosen = np.asarray(index)
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise SelectionError(f"the mask of the {axis} axis has shape {chosen.shape}, it needs ({size},)")
        return np.flatnonzero(chosen).astype(np.int64)
    if chosen.ndim > 1:
        raise SelectionError(f"an index of the {axis} axis has {chosen.ndim} dimensions; give one list of integers")
    if chosen.size == 0:
        return np.empty(0, dtype=np.int64)
    if not np.issubdtype(chosen.dtype, np.integer):
        raise SelectionError(f"an index of the {axis} axis is of type {chosen.dtype}; give integers, a slice or a mask")
    positions = np.atleast_1d(chosen).astype(np.int64)
    wrong = (positions < -size) | (positions >= size)
    if wrong.any():
        raise SelectionError(f"{axis} {int(positions[wrong][0])} is out of bounds: the axis has {size}")
    return np.where(positions < 0, positions + size, positions)


def once(index: IndexArray) -> IndexArray:
    """Each index once, in rising order; slices, which are so already, are not sorted for it."""
    return index if (index[1:] > index[:-1]).all() else np.unique(index)


def _parse(text: str, axis: str) -> Any:
    """Read ``"3"``, ``"a:b"`` or ``"a:b:step"``."""
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or parts == [None]:
        raise SelectionError(f"--{axis}s {text!r} is not a range: write a:b or a:b:step")
    if len(parts) == 3 and parts[2] == 0:
        raise SelectionError(f"--{axis}s {text!r} has a step of 0")
    return slice(*parts) if len(parts) > 1 else parts[0]


def index_to_json(index: IndexArray) -> str | list[int]:
    """Write an index array as ``start:stop:step`` where it is regular, else as a list."""
    if index.size == 0:
        return "0:0:1"
    step = int(index[1] - index[0]) if index.size > 1 else 1
    if step > 0 and np.array_equal(index, index[0] + step * np.arange(index.size)):
        return f"{int(index[0])}:{int(index[-1]) + 1}:{step}"
    return [int(i) for i in index]


def index_words(index: IndexArray) -> str:
    """Write indices as ``a:b`` or ``a:b:step``, or, where they are irregular, as their ends."""
    text = index_to_json(index)
    if isinstance(text, str):
        return text.removesuffix(":1")
    return f"{int(index[0])} to {int(index[-1])} ({index.size} of them)"


def index_from_json(text: str | list[int]) -> IndexArray:
    """Undo `index_to_json`."""
    if isinstance(text, str):
        start, stop, step = (int(part) for part in text.split(":"))
        return np.arange(start, stop, step, dtype=np.int64)
    return np.asarray(text, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Selection:
    """Index arrays into a posterior's three axes; a count keeps its address in any selection."""

    samples: IndexArray
    """(S,) samples of the posterior."""
    cells: IndexArray
    """(N,) cells of the posterior."""
    features: IndexArray
    """(T,) features of the posterior."""

    @classmethod
    def of(cls, shape: Shape, samples: Any = None, cells: Any = None, features: Any = None) -> Selection:
        """Select from axes of the given sizes; see `resolve` for what an index may be."""
        chosen = (resolve(i, n, axis) for i, n, axis in zip((samples, cells, features), shape, AXES, strict=True))
        return cls(*chosen)

    @property
    def shape(self) -> Shape:
        """Sizes ``(S, N, T)`` of what is selected."""
        return self.samples.size, self.cells.size, self.features.size

    def check(self, shape: Shape) -> None:
        """Raise `SelectionError` unless each index is in range and occurs once: a count has one place."""
        for axis, index, size in zip(AXES, (self.samples, self.cells, self.features), shape, strict=True):
            wrong = (index < 0) | (index >= size)
            if wrong.any():
                raise SelectionError(f"{axis} {int(index[wrong][0])} is out of bounds: the axis has {size}")
            if once(index).size < index.size:
                raise SelectionError(f"a {axis} is selected twice; every count has one place in a selection")

    def narrow(self, samples: Any = None, cells: Any = None, features: Any = None) -> Selection:
        """Select again, by position within this selection."""
        inner = Selection.of(self.shape, samples, cells, features)
        return Selection(self.samples[inner.samples], self.cells[inner.cells], self.features[inner.features])

    def to_json(self) -> dict[str, str | list[int]]:
        """Return the manifest's three ``*_index`` items."""
        axes = zip(AXES, (self.samples, self.cells, self.features), strict=True)
        return {f"{axis}_index": index_to_json(index) for axis, index in axes}

    @classmethod
    def from_json(cls, items: dict[str, Any]) -> Selection:
        """Read the manifest's three ``*_index`` items."""
        return cls(*(index_from_json(items[f"{axis}_index"]) for axis in AXES))


@dataclass(frozen=True, order=True)
class Slab:
    """The block computed and written as one unit: positions within a selection, all features."""

    s0: int
    """First sample."""
    s1: int
    """One past the last sample."""
    n0: int
    """First cell."""
    n1: int
    """One past the last cell."""

    @property
    def nsamples(self) -> int:
        """Samples in the slab."""
        return self.s1 - self.s0

    @property
    def ncells(self) -> int:
        """Cells in the slab."""
        return self.n1 - self.n0

    def end(self, ncells: int) -> tuple[int, int]:
        """Sample and cell at which the slab after this one starts; `ncells` is N."""
        return (self.s0, self.n1) if self.n1 < ncells else (self.s1, 0)


def minibatches(nsamples: int, minibatch: int) -> Iterator[tuple[int, int]]:
    """Cut the sample axis into runs ``[s0, s1)`` of at most `minibatch`."""
    for s0 in range(0, nsamples, minibatch):
        yield s0, min(s0 + minibatch, nsamples)


def slabs(s0: int, s1: int, ncells: int, slab_samples: int, slab_cells: int) -> Iterator[Slab]:
    """Cut samples ``[s0, s1)`` and all cells into slabs, in file order.

    A slab either spans all cells or holds one sample only, so that in C order it is one run of bytes.
    """
    for a, b in minibatches(s1 - s0, slab_samples):
        for n0, n1 in minibatches(ncells, slab_cells):
            yield Slab(s0 + a, s0 + b, n0, n1)
