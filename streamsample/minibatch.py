"""Parameters of a few samples, and the slabs of counts that are made from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample import twin
from streamsample.errors import CountOverflow, SelectionError
from streamsample.geometry import IndexArray
from streamsample.parameters import Parameters

if TYPE_CHECKING:
    from streamsample.stream import CountStream

logger = logging.getLogger(__name__)

PENDING = 64  # counts a unit of work may leave to tier 3 before its slab is computed once more with more room
UNITS_A_THREAD = 8  # units of work a thread, so that an uneven one does not leave the others waiting
RUNS_A_THREAD = 32  # runs of units that are handed out; the last one is what other threads may have to wait for
CELLS_A_CHUNK = 2048  # fewer cells a unit would spend more on tables than they save
ALONE = 2**16  # counts that one thread has made before others are at work


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
        if self.stream.posterior.facts.stream_version > 1 or not _numba_compiles():
            self._fill_by_twin(s0, s1, n0, n1, out)
            return
        capacity = PENDING
        while True:
            records, most = self._run_kernel(s0, s1, n0, n1, out, capacity)
            # Before more room is taken, too: where a whole slab overflows, its first count says so.
            for s, n, t in records:
                out[s, n, t] = self._settle(int(s) + s0, int(n) + n0, int(t), out.dtype)
            if most <= capacity:
                break
            capacity = most
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

    def _fill_by_twin(self, s0: int, s1: int, n0: int, n1: int, out: NDArray[Any]) -> None:
        """Fill `out` without Numba."""
        chosen, p = self.stream.selection, self.parameters
        rows = slice(s0 - self.s0, s1 - self.s0)
        samples, cells = chosen.samples[s0:s1], chosen.cells[n0:n1]
        twin.fill(self.stream.seed, samples, cells, chosen.features, p.rows(rows), self.stream.posterior.cells, out)

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
        threads = numba.get_num_threads() if out.size > ALONE else 1
        chunks = -(-UNITS_A_THREAD * threads // units)
        chunks = max(1, min(chunks, (n1 - n0) // CELLS_A_CHUNK))
        pending = np.empty((units * chunks, capacity, 3), dtype=np.int64)
        found = np.zeros((units * chunks, 3), dtype=np.int64)
        arguments = (
            stream.selection.samples[s0:s1].astype(np.uint64), features,
            self.parameters.mu[rows], self.parameters.phi[rows], self.parameters.alpha[rows],
            layout, key_words(stream.seed), chunks, pending, found, out,
        )  # fmt: skip
        share_out(lambda first, last: fill_slab(first, last, *arguments), units * chunks, threads)
        undecided = found[:, 0]
        self.waited += int(found[:, 1].sum())
        self.scalar += int(found[:, 2].sum())
        kept = np.arange(capacity) < undecided[:, None]  # (units, capacity)
        return pending[kept], int(undecided.max())

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


def share_out(work: Callable[[int, int], object], units: int, threads: int) -> None:
    """Have threads work on runs of units, each taking the next run when it is done with one."""
    run = -(-units // (RUNS_A_THREAD * threads))
    bounds = [(first, min(first + run, units)) for first in range(0, units, run)]
    if threads == 1 or len(bounds) == 1:
        work(0, units)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="streamsample-kernel") as pool:
        for done in [pool.submit(work, *bound) for bound in bounds]:
            done.result()


def key_words(seed: int) -> NDArray[np.uint64]:
    """(2,) key of Philox: low and high half of the seed."""
    return np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)
