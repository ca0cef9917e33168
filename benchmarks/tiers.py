"""How many counts each tier settles."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.slabs import BenchSlab


class Shares(NamedTuple):
    """Shares of a slab's counts."""

    waited: float
    """Not settled where they were met; they waited for SIMD lanes."""
    scalar: float
    """Went on to the scalar path (tier 2)."""
    exact: float
    """Went on to arbitrary precision (tier 3)."""


def shares(slab: BenchSlab) -> Shares:
    """Fill the slab once, and tell who settled what."""
    of, size = slab.minibatch, slab.out.size
    before = of.waited, of.scalar, of.pending
    slab.fill()
    after = of.waited, of.scalar, of.pending
    return Shares(*((b - a) / size for a, b in zip(before, after, strict=True)))
