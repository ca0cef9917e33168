"""The counts as a virtual array: each one a pure function of seed, address and parameters."""

from __future__ import annotations

import logging
import operator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.bins import Layout, lay_out
from streamsample.errors import BudgetError, CountOverflow, SelectionError
from streamsample.geometry import AXES, IndexArray, Selection, Shape, minibatches, resolve
from streamsample.parameters import Parameters
from streamsample.units import GIB, format_bytes

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

logger = logging.getLogger(__name__)

STREAM_VERSION = 1
LOUD_NBYTES = 4 * GIB  # results from here on are compared with the budget before they are allocated
PENDING = 64  # counts a unit of work may leave to tier 3 before its slab is computed once more with more room
UNITS_A_THREAD = 8  # units of work a thread, so that an uneven one does not leave the others waiting
CELLS_A_CHUNK = 2048  # fewer cells a unit would spend more on tables than they save


class CountStream:
    """Counts ``y[S, N, T]`` of a posterior and a seed, computed when they are read.

    It behaves like a read-only NumPy array: ``stream[3, 100:200, ::7]`` computes exactly these counts. Batches,
    threads, machines and what else is read can't change a count.

    Parameters
    ----------
    posterior
        Parameter draws and cells.
    seed
        In [0, 2**64).
    selection
        Part of the posterior's axes; everything if left out. A count keeps its address in any selection.

    Raises
    ------
    SelectionError
        If the seed or the selection is out of range, or an index is selected twice.
    """

    dtype = np.dtype(np.uint32)
    """Type of what is read; files take the narrowest type that holds every count."""
    ndim = 3

    def __init__(self, posterior: Posterior, seed: int = 0, selection: Selection | None = None) -> None:
        seed = operator.index(seed)
        if not 0 <= seed < 2**64:
            raise SelectionError(f"the seed {seed} is not in [0, 2**64)")
        self.posterior = posterior
        self.seed = seed
        if selection is not None:
            selection.check(posterior.shape)
        self.selection = Selection.of(posterior.shape) if selection is None else selection

    @property
    def shape(self) -> Shape:
        """Sizes (S, N, T)."""
        return self.selection.shape

    @property
    def size(self) -> int:
        """Number of counts."""
        nsamples, ncells, nfeatures = self.shape
        return nsamples * ncells * nfeatures

    def __repr__(self) -> str:
        """Tell shape and seed."""
        return f"<CountStream {self.shape} (samples, cells, features) seed={self.seed}>"

    def __len__(self) -> int:
        """Return S."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Compute every count."""
        if copy is False:
            raise ValueError("a stream is computed, so that its array is always new; don't ask for copy=False")
        counts: NDArray[Any] = self[:]
        return counts if dtype is None else counts.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        """Compute the counts of a slice.

        Integers, slices, masks and index arrays select along their own axis each (as ``numpy.ix_``, not pairwise);
        integers drop their axis.

        Returns
        -------
        numpy.ndarray or numpy.uint32
            uint32 counts.
        """
        keys, scalar = self._keys(key)
        wanted = [resolve(k, size, axis) for k, size, axis in zip(keys, self.shape, AXES, strict=True)]
        # Each index once and in order, then as asked for: so repeats cost nothing and quads stay together.
        once = [np.unique(index) for index in wanted]
        counts = self.select(*once)._compute()  # (s, n, t)
        for axis, (index, unique) in enumerate(zip(wanted, once, strict=True)):
            if not np.array_equal(index, unique):
                counts = np.take(counts, np.searchsorted(unique, index), axis=axis)
        return counts[tuple(0 if s else slice(None) for s in scalar)]

    def sel(self, sample: Any = None, cell: Any = None, feature: Any = None) -> Any:
        """Compute counts chosen by name: ``stream.sel(feature="STAT1")`` is ``[S, N]``.

        Parameters
        ----------
        sample, cell, feature
            A name or a list of names; or anything that `__getitem__` takes. Samples have numbers only.

        Raises
        ------
        SelectionError
            If a name is unknown.
        """
        names = (None, self.posterior.cells.names, self.posterior.facts.feature_names)
        indices = (self.selection.samples, self.selection.cells, self.selection.features)
        keys = [
            _by_name(key, known, index, axis)
            for key, known, index, axis in zip((sample, cell, feature), names, indices, AXES, strict=True)
        ]
        return self[tuple(slice(None) if key is None else key for key in keys)]

    def select(self, samples: Any = None, cells: Any = None, features: Any = None) -> CountStream:
        """Narrow the stream, by position, without computing anything.

        Raises
        ------
        SelectionError
            If an index is out of range, or occurs twice.
        """
        return CountStream(self.posterior, self.seed, self.selection.narrow(samples, cells, features))

    def load(self, s0: int, s1: int) -> Minibatch:
        """Read the parameters of the selected samples ``s0:s1``, from which `Minibatch.fill` makes counts."""
        features = self.selection.features
        whole = features.size == self.posterior.facts.nfeatures and np.array_equal(features, np.arange(features.size))
        parameters = self.posterior.read(self.selection.samples[s0:s1], None if whole else features)
        return Minibatch(self, s0, s1, parameters)

    def layout(self, n0: int, n1: int) -> Layout:
        """Arrange the selected cells ``n0:n1`` for the kernel; kept, as every sample's slab needs it again."""
        if (n0, n1) not in self._layouts:
            if len(self._layouts) > 64:
                self._layouts.clear()
            cells = self.selection.cells[n0:n1]
            of = self.posterior.cells
            ngroups = self.posterior.facts.ngroups
            self._layouts[n0, n1] = lay_out(cells, of.size_factor[cells], of.group[cells], ngroups)
        return self._layouts[n0, n1]

    @cached_property
    def _layouts(self) -> dict[tuple[int, int], Layout]:
        return {}

    def _keys(self, key: Any) -> tuple[list[Any], list[bool]]:
        """Write a key out for three axes, and say which of them are integers."""
        keys = list(key) if isinstance(key, tuple) else [key]
        ellipses = [i for i, k in enumerate(keys) if k is Ellipsis]
        if ellipses:
            keys[ellipses[0] : ellipses[0] + 1] = [slice(None)] * (4 - len(keys))
        if len(keys) > 3 or len(ellipses) > 1 or any(k is None for k in keys):
            raise SelectionError(f"a stream has 3 axes (sample, cell, feature); the key {key!r} does not fit them")
        if any(isinstance(k, str) for k in keys):
            raise SelectionError(f"the key {key!r} is a name; read it with stream.sel(feature=...)")
        keys += [slice(None)] * (3 - len(keys))
        return keys, [np.ndim(k) == 0 and not isinstance(k, slice) for k in keys]

    def _compute(self) -> NDArray[np.uint32]:
        """Compute every count of the stream into a new array."""
        nsamples, ncells, nfeatures = self.shape
        counts = _allocate(self.shape)
        if counts.size == 0:
            return counts
        step = max(1, 32 * 2**20 // (8 * nfeatures * (2 + self.posterior.facts.ngroups)))
        for s0, s1 in minibatches(nsamples, step):
            self.load(s0, s1).fill(s0, s1, 0, ncells, counts[s0:s1])
        return counts


def _allocate(shape: Shape) -> NDArray[np.uint32]:
    """An array for counts, or one line that says why there can be none."""
    nbytes = 4 * shape[0] * shape[1] * shape[2]
    if nbytes >= LOUD_NBYTES:
        from streamsample.budget import Budget

        allowed = Budget.detect().nbytes
        if nbytes > allowed:
            raise BudgetError(
                f"counts of shape {shape} take {format_bytes(nbytes)} but {format_bytes(allowed)} are there; "
                "read a part of them, or write them to a file with streamsample.sample"
            )
    return np.empty(shape, dtype=np.uint32)


def _by_name(key: Any, known: Any, index: IndexArray, axis: str) -> Any:
    """Translate names on one axis into positions within the selection."""
    single = isinstance(key, str)
    listed = isinstance(key, list | tuple | np.ndarray) and np.ndim(key) == 1 and len(key) > 0
    if not single and not (listed and isinstance(key[0], str)):
        return key
    if known is None:
        raise SelectionError(f"the posterior has no {axis} names; give positions")
    positions = {str(name): i for i, name in enumerate(known[index])}
    missing = [name for name in ([key] if single else key) if str(name) not in positions]
    if missing:
        near = ", ".join(sorted(positions, key=lambda name: _distance(name, missing[0]))[:3])
        raise SelectionError(f"there is no {axis} named {missing[0]!r} ({len(missing)} unknown); near it: {near}")
    if len(positions) < index.size:
        twice = [name for name in ([key] if single else key) if np.count_nonzero(known[index] == str(name)) > 1]
        if twice:
            raise SelectionError(f"several {axis}s are named {twice[0]!r}; give positions")
    return positions[key] if single else np.array([positions[str(name)] for name in key])


def _distance(name: str, wanted: str) -> tuple[bool, float, str]:
    """Order names by likeness to a wanted one."""
    from difflib import SequenceMatcher

    return name.lower() != wanted.lower(), -SequenceMatcher(None, name.lower(), wanted.lower()).ratio(), name


@dataclass
class Minibatch:
    """Parameters of a run of samples, from which slabs of counts are made."""

    stream: CountStream
    s0: int
    """First sample, a position in the stream's selection."""
    s1: int
    """One past the last."""
    parameters: Parameters
    """float64 blocks of the selected features."""
    pending: int = field(default=0, init=False)
    """Counts that tier 3 has settled so far."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        p = self.parameters
        return p.mu.nbytes + p.phi.nbytes + p.alpha.nbytes

    def fill(self, s0: int, s1: int, n0: int, n1: int, out: NDArray[Any]) -> None:
        """Compute the counts of samples ``s0:s1`` and cells ``n0:n1`` (positions in the selection), all features.

        Parameters
        ----------
        out
            (s1 - s0, n1 - n0, T) of uint8, uint16 or uint32, in C order.

        Raises
        ------
        CountOverflow
            If a count does not fit `out`; names its sample, cell and feature.
        SelectionError
            If the slab is not within this minibatch, or `out` is not an array for it.
        """
        self._check_slab(s0, s1, n0, n1, out)
        if out.size == 0:
            return
        capacity = PENDING
        while True:
            records, most = self._run_kernel(s0, s1, n0, n1, out, capacity)
            if most <= capacity:
                break
            capacity = most
        for s, n, t in records:
            out[s, n, t] = self._settle(int(s) + s0, int(n) + n0, int(t), out.dtype)
        self.pending += len(records)

    def _check_slab(self, s0: int, s1: int, n0: int, n1: int, out: NDArray[Any]) -> None:
        """Refuse what the kernel, which checks no bounds, would read or write outside its arrays."""
        _, ncells, nfeatures = self.stream.shape
        if not (self.s0 <= s0 <= s1 <= self.s1 and 0 <= n0 <= n1 <= ncells):
            raise SelectionError(
                f"samples {s0}:{s1} and cells {n0}:{n1} are not within this minibatch's "
                f"samples {self.s0}:{self.s1} and cells 0:{ncells}"
            )
        shape = s1 - s0, n1 - n0, nfeatures
        if out.shape != shape or out.dtype not in (np.uint8, np.uint16, np.uint32) or not out.flags.c_contiguous:
            raise SelectionError(
                f"an array of shape {out.shape} and type {out.dtype} is given for a slab; "
                f"it needs shape {shape}, type uint8, uint16 or uint32, and C order"
            )

    def _run_kernel(
        self, s0: int, s1: int, n0: int, n1: int, out: NDArray[Any], capacity: int
    ) -> tuple[IndexArray, int]:
        """Fill `out`; returns the positions (s, n, t) of what is not certain, and the most of a unit."""
        import numba

        from streamsample.kernels.slab import BLOCK, fill_slab

        stream, layout = self.stream, self.stream.layout(n0, n1)
        rows = slice(s0 - self.s0, s1 - self.s0)
        features = stream.selection.features.astype(np.uint64)
        units = (s1 - s0) * -(-features.size // BLOCK)
        chunks = -(-UNITS_A_THREAD * numba.get_num_threads() // units)
        chunks = max(1, min(chunks, (n1 - n0) // CELLS_A_CHUNK))
        pending = np.empty((units * chunks, capacity, 3), dtype=np.int64)
        found = np.zeros(units * chunks, dtype=np.int64)
        fill_slab(
            stream.selection.samples[s0:s1].astype(np.uint64), features,
            self.parameters.mu[rows], self.parameters.phi[rows], self.parameters.alpha[rows],
            layout.quads, layout.lanes, layout.size_factor, layout.group, layout.low_edge, layout.edges, layout.starts,
            key_words(stream.seed), chunks, pending, found, out,
        )  # fmt: skip
        kept = np.arange(capacity) < found[:, None]  # (units, capacity)
        return pending[kept], int(found.max())

    def _settle(self, s: int, n: int, t: int, dtype: np.dtype[Any]) -> int:
        """Decide one count in tier 3; s, n and t are positions in the selection."""
        from streamsample.exact import settle
        from streamsample.kernels.negbin import OVERFLOW, UNDECIDED, quantile
        from streamsample.kernels.philox import uniform_at

        chosen, parameters = self.stream.selection, self.parameters
        address = int(chosen.samples[s]), int(chosen.cells[n]), int(chosen.features[t])
        cells = self.stream.posterior.cells
        group = cells.group[address[1]]
        base = parameters.mu[s - self.s0, t] * parameters.alpha[s - self.s0, group, t]
        m = float(base * cells.size_factor[address[1]])
        phi = float(parameters.phi[s - self.s0, t])
        sample, cell, feature = (np.uint64(i) for i in address)
        u = float(uniform_at(sample, cell, feature, key_words(self.stream.seed)))
        y, status = quantile(m, phi, u)
        if status == UNDECIDED:
            y = settle(m, phi, u, int(y))
        if status == OVERFLOW or y > np.iinfo(dtype).max:
            raise CountOverflow(
                f"the count at sample {address[0]}, cell {address[1]}, feature {address[2]} (mean {m:.6g}, "
                f"phi {phi:.6g}, u {u:.17g}) is above {np.iinfo(dtype).max}, the most that {dtype} holds"
            )
        return int(y)


def key_words(seed: int) -> NDArray[np.uint64]:
    """(2,) key of Philox: low and high half of the seed."""
    return np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)
