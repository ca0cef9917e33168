"""The plan of a run: what was decided, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from streamsample.chunking import Chunking
from streamsample.expectation import ASSUMED, CountFacts
from streamsample.geometry import QUAD, Shape, Slab, minibatches
from streamsample.keeping import Way, ways
from streamsample.memory_model import (
    SLABS_IN_FLIGHT,
    Quantity,
    checks_quantity,
    completed,
    minibatch_quantity,
    slabs_quantity,
)
from streamsample.rates import SOURCE
from streamsample.target import TargetFacts
from streamsample.units import MIB, format_bytes, format_count, format_seconds

LAST_NBYTES = 16 * MIB
"""The last slab is not cut below this: written in 15 ms."""

SURELY = 0.5
"""Share of the entropy that compressed counts can't be smaller than, as it is an estimate."""


@dataclass(frozen=True)
class Plan:
    """How a run is cut, and what it will take; frozen."""

    shape: Shape
    """(S, N, T) of the counts."""
    minibatch: int
    """Samples whose parameters are in memory at a time."""
    slab_samples: int
    """Samples of a slab; above 1 only where it spans all cells."""
    slab_cells: int
    """Cells of a slab: all, or a multiple of four."""
    dtype: str
    """``uint8``, ``uint16`` or ``uint32``."""
    threads: int
    """Threads that compute."""
    quantities: tuple[Quantity, ...]
    """Everything held in memory, by name."""
    allowed_nbytes: int
    """Safety factor x budget."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why each of these is as it is."""
    safety_factor: float = 0.7
    """Which part of the budget is allowed."""
    limit_nbytes: int | None = None
    """The limit that was found when the plan was made, against which later ones have fallen or not; None: the budget
    was stated by hand."""
    slabs_in_flight: int = SLABS_IN_FLIGHT
    """Slabs in memory at a time."""
    slab_unit: tuple[int, int] = (1, QUAD)
    """Samples and cells that a slab can't be cut below, and is a multiple of: quads, or the chunks of a store."""
    chunking: Chunking | None = None
    """Chunks that are encoded; None: the counts are stored as they are."""
    counts: CountFacts = ASSUMED
    """What the counts are like."""
    posterior_nbytes: int = 0
    """Size of the parameters."""
    target: TargetFacts | None = None
    """Where the counts go, and the limits met there."""

    @property
    def peak_nbytes(self) -> int:
        """Predicted peak of anonymous and dirty memory, in bytes."""
        return sum(quantity.nbytes for quantity in self.quantities)

    @property
    def output_nbytes(self) -> int:
        """Size of the counts, in bytes; names and manifest come to it."""
        return self.ncounts * np.dtype(self.dtype).itemsize

    @property
    def needed_nbytes(self) -> int:
        """Bytes of disk that are surely needed; of compressed counts a part of their entropy."""
        if self.chunking is None:
            return self.output_nbytes
        return 0 if self.counts is ASSUMED else int(SURELY * self.counts.bits / 8 * self.ncounts)

    @property
    def nfiles(self) -> int:
        """Files that will hold the counts."""
        return 1 if self.chunking is None else self.chunking.nfiles(self.shape)

    def ways(self) -> tuple[Way, ...]:
        """Other ways to keep these counts, and what each takes; see `streamsample.keeping`."""
        return ways(self.shape, self.dtype, self.threads, self.counts, self.posterior_nbytes, self.chunking)

    @property
    def seconds(self) -> float:
        """Time that it will take, by rates measured elsewhere."""
        raw, compressed, *_ = self.ways()
        return raw.write_seconds if self.chunking is None else compressed.write_seconds

    @property
    def layout(self) -> dict[str, Any]:
        """The manifest's chunk and codec settings."""
        return {"chunks": None, "codec": None} if self.chunking is None else self.chunking.to_layout()

    @property
    def ncounts(self) -> int:
        """Number of counts."""
        nsamples, ncells, nfeatures = self.shape
        return nsamples * ncells * nfeatures

    @property
    def slab_nbytes(self) -> int:
        """Size of the largest slab, in bytes."""
        return self.slab_samples * self.slab_cells * self.shape[2] * np.dtype(self.dtype).itemsize

    def minibatches(self) -> Iterator[tuple[int, int]]:
        """Runs ``[s0, s1)`` of samples, in order."""
        return minibatches(self.shape[0], self.minibatch)

    def slabs(self, s0: int, s1: int) -> Iterator[Slab]:
        """Slabs of a minibatch, in file order."""
        s, n = s0, 0
        while s < s1:
            slab = self.slab_at(s, n, s1)
            yield slab
            s, n = slab.end(self.shape[1])

    def slab_at(self, s: int, n: int, s1: int) -> Slab:
        """Slab that starts at sample `s` and cell `n` of a minibatch that ends at `s1`.

        With `Slab.end` it walks through all counts in file order, and the plan may change on the way: one that is
        `recut` into smaller slabs continues where the one before has ended. The last slab of all is cut finer and
        finer: while it is encoded and written nothing is left to compute.
        """
        slab = Slab(s, min(s + self.slab_samples, s1), n, min(n + self.slab_cells, self.shape[1]))
        if (slab.s1, slab.n1) != self.shape[:2] or slab.nsamples > 1:
            return slab
        return replace(slab, n1=n + self._half(slab.ncells))

    def _half(self, cells: int) -> int:
        """About half of the cells, in whole chunks; all of them where half of them is small."""
        unit = self.slab_unit[1]
        half = min(-(-cells // (2 * unit)) * unit, cells)
        return half if half * self.shape[2] * np.dtype(self.dtype).itemsize >= LAST_NBYTES else cells

    def recut(self, minibatch: int, slab_samples: int, slab_cells: int, slabs_in_flight: int) -> Plan:
        """Return the plan with other sizes, and with the memory that they take."""
        made = replace(
            self,
            minibatch=minibatch,
            slab_samples=slab_samples,
            slab_cells=slab_cells,
            slabs_in_flight=slabs_in_flight,
        )
        nslabs = -(-self.shape[0] // slab_samples) * -(-self.shape[1] // slab_cells)
        held = {quantity.name: quantity for quantity in self.quantities}
        held["minibatch"] = minibatch_quantity(held["minibatch"].nbytes // self.minibatch * minibatch, minibatch)
        held["slabs"] = slabs_quantity(made.slab_nbytes, slabs_in_flight)
        held["checksums"] = checks_quantity(nslabs, self.shape[0])
        return replace(made, quantities=completed(held.values()))

    def explain(self) -> str:
        """Return the plan as a table of plain text, with the reasons."""
        nsamples, ncells, nfeatures = self.shape
        counts = f"{nsamples:,} samples x {ncells:,} cells x {nfeatures:,} features"
        a_slab = f"samples x cells: {self.slab_samples:,} x {self.slab_cells:,}, all features"
        head = [
            ("counts", format_count(self.ncounts), counts),
            ("dtype", self.dtype, self.reasons.get("dtype", "")),
            ("output", format_bytes(self.output_nbytes), self.reasons.get("output", "")),
            *self._chunk_lines(),
            ("time", format_seconds(self.seconds), f"{self.counts.why}; {SOURCE}"),
            ("threads", str(self.threads), self.reasons.get("threads", "")),
            ("minibatch", f"{self.minibatch:,}", self.reasons.get("minibatch", "")),
            ("slab", format_bytes(self.slab_nbytes), a_slab),
        ]
        memory = [(quantity.name, format_bytes(quantity.nbytes), quantity.why) for quantity in self.quantities]
        feet = [
            ("predicted peak", format_bytes(self.peak_nbytes), "sum of the above"),
            ("allowed", format_bytes(self.allowed_nbytes), self.reasons.get("allowed", "")),
        ]
        return "\n".join(["Plan", *map(_line, head), "Memory", *map(_line, memory + feet)])

    def _chunk_lines(self) -> list[tuple[str, str, str]]:
        """Lines about chunks, where there are some."""
        if self.chunking is None:
            return []
        _, ncells, nfeatures = self.chunking.chunks
        size = f"about {format_bytes(self.counts.encoded_nbytes * self.ncounts)}, {self.counts.why}"
        nfiles = self.chunking.nfiles(self.shape)
        shape = f"1 sample x {ncells:,} cells x {nfeatures:,} features; {nfiles:,} file{'s' * (nfiles > 1)}"
        nbytes = ncells * nfeatures * np.dtype(self.dtype).itemsize
        return [("compression", self.chunking.codec, size), ("chunk", format_bytes(nbytes), shape)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            "shape": list(self.shape),
            "minibatch": self.minibatch,
            "slab_samples": self.slab_samples,
            "slab_cells": self.slab_cells,
            "dtype": self.dtype,
            "threads": self.threads,
            "peak_nbytes": self.peak_nbytes,
            "allowed_nbytes": self.allowed_nbytes,
            "output_nbytes": self.output_nbytes,
            "files": self.nfiles,
            "target": None if self.target is None else asdict(self.target),
            "seconds": self.seconds,
            "ways": [way.to_json() for way in self.ways()],
            **self.layout,
            "memory": {quantity.name: quantity.nbytes for quantity in self.quantities},
            "reasons": dict(self.reasons),
        }


def _line(cells: tuple[str, str, str]) -> str:
    """One row of the table."""
    return f"  {cells[0]:<15}{cells[1]:>11}  {cells[2]}".rstrip()
