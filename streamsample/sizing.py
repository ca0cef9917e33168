"""The plan of a run: what was decided, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsample.geometry import Shape, Slab, minibatches, slabs
from streamsample.memory_model import Quantity
from streamsample.units import format_bytes, format_count


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

    @property
    def peak_nbytes(self) -> int:
        """Predicted peak of anonymous and dirty memory, in bytes."""
        return sum(quantity.nbytes for quantity in self.quantities)

    @property
    def output_nbytes(self) -> int:
        """Size of the counts, in bytes; names and manifest come to it."""
        return self.ncounts * np.dtype(self.dtype).itemsize

    @property
    def ncounts(self) -> int:
        """Number of counts."""
        nsamples, ncells, nfeatures = self.shape
        return nsamples * ncells * nfeatures

    @property
    def slab_shape(self) -> Shape:
        """(samples, cells, features) of the largest slab."""
        return self.slab_samples, self.slab_cells, self.shape[2]

    @property
    def slab_nbytes(self) -> int:
        """Size of the largest slab, in bytes."""
        return self.slab_samples * self.slab_cells * self.shape[2] * np.dtype(self.dtype).itemsize

    def minibatches(self) -> Iterator[tuple[int, int]]:
        """Runs ``[s0, s1)`` of samples, in order."""
        return minibatches(self.shape[0], self.minibatch)

    def slabs(self, s0: int, s1: int) -> Iterator[Slab]:
        """Slabs of a minibatch, in file order."""
        return slabs(s0, s1, self.shape[1], self.slab_samples, self.slab_cells)

    def explain(self) -> str:
        """Return the plan as a table of plain text, with the reasons."""
        nsamples, ncells, nfeatures = self.shape
        counts = f"{nsamples:,} samples x {ncells:,} cells x {nfeatures:,} features"
        a_slab = f"samples x cells: {self.slab_samples:,} x {self.slab_cells:,}, all features"
        head = [
            ("counts", format_count(self.ncounts), counts),
            ("dtype", self.dtype, self.reasons.get("dtype", "")),
            ("output", format_bytes(self.output_nbytes), self.reasons.get("output", "")),
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
            "memory": {quantity.name: quantity.nbytes for quantity in self.quantities},
            "reasons": dict(self.reasons),
        }


def _line(cells: tuple[str, str, str]) -> str:
    """One row of the table."""
    return f"  {cells[0]:<15}{cells[1]:>11}  {cells[2]}".rstrip()
