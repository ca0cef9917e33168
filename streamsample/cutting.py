"""Every cut of the work that is worth trying, and the coarsest one that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamsample.chunking import Chunking, Storage
from streamsample.geometry import QUAD
from streamsample.memory_model import ParameterFacts, Quantity, completed, fixed_quantities, working_quantities
from streamsample.units import MIB

SLAB_NBYTES = 32 * MIB
"""A slab worth computing at once: with 299 features, 5 MiB are as fast as 65."""
SLAB_CELLS = 4096
"""Cells worth computing at once, as the kernel's tables serve them all (28,868 features on 2 cores, M counts/s:
128 cells 25, 576: 74, 1,152: 149, 2,304: 183, 4,608: 192, 8,192: 193)."""
LARGEST_SLAB_NBYTES = 512 * MIB
"""Where so many cells would be more than this, progress would come in lumps."""
MINIBATCH_NBYTES = 64 * MIB
"""Parameters worth reading at once: reading is short beside computing, so more gains nothing."""


class Cut(NamedTuple):
    """How the axes are cut, and what that takes."""

    minibatch: int
    slab_samples: int
    slab_cells: int
    quantities: tuple[Quantity, ...]
    """Everything held in memory."""
    chunking: Chunking | None

    @property
    def nbytes(self) -> int:
        """Forecast of the peak."""
        return sum(quantity.nbytes for quantity in self.quantities)


@dataclass(frozen=True)
class Work:
    """What is to be cut; frozen."""

    facts: ParameterFacts
    """Sizes."""
    threads: int
    """That compute."""
    minibatch: int | None
    """Samples at a time, if they are asked for."""
    baseline: int
    """Bytes that the process holds."""
    libraries: int
    """Bytes that libraries will add."""
    suffix: str
    """Of the output."""
    medium: str
    """How its file system is written to."""
    storage: Storage
    """How it is stored."""
    shard_nbytes: int
    """Most of a shard, where the format has some."""

    def coarsest(self, allowed: int) -> Cut | None:
        """Return the largest slab, and then the largest minibatch, that fit; None where nothing does."""
        cuts = sorted(self.cuts(), key=lambda cut: (cut.slab_samples * cut.slab_cells, cut.minibatch), reverse=True)
        return next((cut for cut in cuts if cut.nbytes <= allowed), None)

    def least(self) -> Cut:
        """Return the cut that takes the least memory."""
        return min(self.cuts(), key=lambda cut: cut.nbytes)

    def fits(self, allowed: int) -> bool:
        """Tell whether any cut fits."""
        return any(cut.nbytes <= allowed for cut in self.cuts())

    def part(self, nsamples: int | None = None, nfeatures: int | None = None) -> Work:
        """Return the same for some of the samples or features, of a posterior that is read as before."""
        facts = self.facts
        if nfeatures is not None:
            stored = facts.stored_features or facts.nfeatures
            facts = replace(facts, nfeatures=nfeatures, stored_features=stored, whole=False)
        if nsamples is not None:
            facts = replace(facts, nsamples=nsamples)
        minibatch = None if self.minibatch is None else min(self.minibatch, facts.nsamples)
        return replace(self, facts=facts, minibatch=minibatch)

    def cuts(self) -> Iterator[Cut]:
        """All cuts worth trying: slabs that are halved again and again, each with minibatches halved likewise."""
        facts = self.facts
        fixed = fixed_quantities(facts, self.baseline, self.libraries, self.threads, self.medium)
        row = facts.nfeatures * np.dtype(facts.dtype).itemsize
        plane = facts.ncells * row
        worth = min(max(SLAB_NBYTES, min(facts.ncells, SLAB_CELLS) * row), LARGEST_SLAB_NBYTES)
        for parameters in _halvings(MINIBATCH_NBYTES, facts.sample_nbytes):
            minibatch = self.minibatch or _even(facts.nsamples, parameters // facts.sample_nbytes)
            for slab in _halvings(worth, QUAD * row):
                slab_samples = _even(minibatch, slab // plane)
                chunking = self._chunking(slab // row)
                unit = QUAD if chunking is None else chunking.chunks[1]
                slab_cells = facts.ncells
                if plane > slab:
                    slab_cells = min(facts.ncells, _even(facts.ncells, slab // row, unit))
                nslabs = _pieces(facts.nsamples, minibatch) * _pieces(minibatch, slab_samples)
                nslabs *= _pieces(facts.ncells, slab_cells)
                working = working_quantities(
                    facts, self.threads, minibatch, (slab_samples, slab_cells), nslabs, chunking, self.medium
                )
                yield Cut(minibatch, slab_samples, slab_cells, completed(fixed + working), chunking)

    def _chunking(self, most_cells: int) -> Chunking | None:
        """Choose chunks for slabs of so many cells at most."""
        cells = max(QUAD, most_cells // QUAD * QUAD)
        itemsize = np.dtype(self.facts.dtype).itemsize
        expected = self.facts.counts.encoded_nbytes
        return self.storage.chunking(self.suffix, self.facts.shape, itemsize, cells, self.shard_nbytes, expected)


def _halvings(first: int, least: int) -> Iterator[int]:
    """Halve a number until it is at most `least`."""
    yield first
    while first > least:
        first //= 2
        yield first


def _even(size: int, most: int, unit: int = 1) -> int:
    """Length of pieces that are about alike: at most `most`, but at least one unit, and a multiple of it."""
    pieces = _pieces(size, max(unit, most // unit * unit))
    return _pieces(size, pieces * unit) * unit


def _pieces(size: int, length: int) -> int:
    """Pieces of a length that something is cut into, the last one perhaps shorter."""
    return -(-size // length)
