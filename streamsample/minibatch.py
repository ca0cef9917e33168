"""Parameters of a few samples, and the slabs of counts that are made from them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsample import twin
from streamsample.bins import Layout
from streamsample.errors import CountOverflow, PosteriorError, SelectionError
from streamsample.parameters import Parameters
from streamsample.slab_work import draws, key_words
from streamsample.slab_work import fill as fill_slab

if TYPE_CHECKING:
    from streamsample.stream import CountStream

logger = logging.getLogger(__name__)

PENDING = 64  # counts a unit of work may leave to tier 3 before its slab is computed once more with more room


class Element(NamedTuple):
    """What one count follows from."""

    address: tuple[int, int, int]
    """Sample, cell and feature of the posterior."""
    m: float
    phi: float
    inflation: float


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
    waited: int = field(default=0, init=False)
    """Counts that were not settled where they were met, and waited for SIMD lanes."""
    scalar: int = field(default=0, init=False)
    """Counts that went on to the scalar path (tier 2)."""

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
        if not _numba_compiles():
            self._fill_by_twin(s0, s1, n0, n1, out)
            return
        chosen, rows = self.stream.selection, self.parameters.rows(slice(s0 - self.s0, s1 - self.s0))
        layout, capacity = self.stream.layout(n0, n1), PENDING
        while True:
            done = fill_slab(self.stream.seed, chosen.samples[s0:s1], chosen.features, rows, layout, capacity, out)
            if done.outside:
                raise self._outside(s0, s1, n0, layout)
            # Before more room is taken, too: where a whole slab overflows, its first count says so.
            for s, n, t in done.pending.tolist():
                out[s, n, t] = self._settle(self._element(s + s0, n0, n, t, layout), out.dtype)
            if done.most <= capacity:
                break
            capacity = done.most
        self.pending += len(done.pending)
        self.waited += done.waited
        self.scalar += done.scalar

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

    def _fill_by_twin(self, s0: int, s1: int, n0: int, n1: int, out: NDArray[Any]) -> None:
        """Fill `out` without Numba."""
        chosen, p = self.stream.selection, self.parameters
        rows = slice(s0 - self.s0, s1 - self.s0)
        samples, cells = chosen.samples[s0:s1], chosen.cells[n0:n1]
        twin.fill(self.stream.seed, samples, cells, chosen.features, p.rows(rows), self.stream.posterior.cells, out)

    def _outside(self, s0: int, s1: int, n0: int, layout: Layout) -> PosteriorError:
        """Find the first mean of a slab that is outside the domain, as there is one, and say so.

        The kernels meet them in the order of their routes and threads.
        """
        from streamsample.kernels.blocks import block_of
        from streamsample.kernels.means import LARGEST_MEAN, fill_means

        features = self.stream.selection.features.astype(np.uint64)
        means, of = np.empty(features.size), draws(self.parameters)
        for s in range(s0, s1):
            block = block_of(of, s - self.s0, features, 0, features.size)
            for n in range(layout.group.size):
                if fill_means(block.base, block.beta, layout, n, means):
                    t = int(np.flatnonzero(~(means <= LARGEST_MEAN))[0])
                    found = self._element(s, n0, n, t, layout)
                    return PosteriorError.mean_at(found.address, found.m)
        raise AssertionError("unreachable: the kernels have met one")

    def _element(self, s: int, n0: int, n: int, t: int, layout: Layout) -> Element:
        """What a count follows from: s, n0 and t are positions in the selection, n one in the layout from n0 on."""
        from streamsample.kernels.blocks import block_of
        from streamsample.kernels.means import mean_of

        chosen = self.stream.selection
        address = int(chosen.samples[s]), int(chosen.cells[n0 + n]), int(chosen.features[t])
        block = block_of(draws(self.parameters), s - self.s0, chosen.features.astype(np.uint64), t, t + 1)
        m = mean_of(block.base, block.beta, layout, n, 0)
        return Element(address, float(m), float(block.phi[0]), float(block.inflation[0]))

    def _settle(self, element: Element, dtype: np.dtype[Any]) -> int:
        """Decide one count in tier 3."""
        from streamsample.exact import settle
        from streamsample.kernels.negbin import OVERFLOW, UNDECIDED, quantile, split
        from streamsample.kernels.philox import uniform_at

        address, m, phi, inflation = element
        sample, cell, feature = (np.uint64(i) for i in address)
        u = float(uniform_at(sample, cell, feature, key_words(self.stream.seed)))
        y, status = quantile(m, phi, *split(u, inflation))
        if status == UNDECIDED:
            y = settle(m, phi, u, int(y), inflation)
        if status == OVERFLOW or y > np.iinfo(dtype).max:
            raise CountOverflow.at(address, m, phi, u, dtype.name, int(np.iinfo(dtype).max))
        return int(y)


@cache
def _numba_compiles() -> bool:
    """Whether the kernels can run; says so once where they can't."""
    reason = "NUMBA_DISABLE_JIT is set"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0"):
        try:
            import numba  # noqa: F401 (whether it loads is the question)
        except Exception as error:  # an ImportError, or whatever else a broken installation raises
            reason = f"Numba can't be loaded: {error}"
        else:
            return True
    logger.warning("%s; counts are computed by the twin, which needs some 10 microseconds for each", reason)
    return False
