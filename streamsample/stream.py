"""The counts as a virtual array: each one a pure function of seed, address and parameters."""

from __future__ import annotations

import operator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample import twin
from streamsample.bins import Layout, lay_out
from streamsample.counts import Counts
from streamsample.errors import BudgetError, SelectionError
from streamsample.geometry import IndexArray, Selection, Shape, minibatches
from streamsample.minibatch import Minibatch
from streamsample.parameters import Names
from streamsample.units import GIB, format_bytes

if TYPE_CHECKING:
    from streamsample.posterior import Posterior

LOUD_NBYTES = 4 * GIB  # results from here on are compared with the budget before they are allocated


class CountStream(Counts):
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
    def names(self) -> tuple[Names | None, Names | None]:
        """Names of the selected cells (N,) and features (T,), where the posterior has any."""
        cells, features = self.posterior.cells.names, self.posterior.facts.feature_names
        return (
            None if cells is None else cells[self.selection.cells],
            None if features is None else features[self.selection.features],
        )

    def __repr__(self) -> str:
        """Tell shape and seed."""
        return f"<CountStream {self.shape} (samples, cells, features) seed={self.seed}>"

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
            design = None if of.design is None else of.design.take(cells)
            self._layouts[n0, n1] = lay_out(
                cells, of.size_factor[cells], of.group[cells], self.posterior.facts.ngroups, design
            )
        return self._layouts[n0, n1]

    @cached_property
    def _layouts(self) -> dict[tuple[int, int], Layout]:
        return {}

    def _read(self, samples: IndexArray, cells: IndexArray, features: IndexArray) -> NDArray[Any]:
        """Compute the counts at positions that rise along each axis."""
        part = self.select(samples, cells, features)
        if cells.size == self.selection.cells.size:  # the same cells: arranged once for all that is read of them
            part._layouts = self._layouts
        return part._compute()

    def _compute(self) -> NDArray[np.uint32]:
        """Compute every count of the stream into a new array."""
        nsamples, ncells, nfeatures = self.shape
        counts = _allocate(self.shape)
        if counts.size == 0:
            return counts
        if twin.is_quicker(counts.size):
            chosen = self.selection
            return twin.counts(self, *np.ix_(chosen.samples, chosen.cells, chosen.features))
        step = max(1, 32 * 2**20 // (8 * nfeatures * self.posterior.facts.nblocks))
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
