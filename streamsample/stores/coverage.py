"""Which counts are there already, and which a slab still lacks."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator

from streamsample.geometry import Slab

Span = tuple[int, int]


class Coverage:
    """Cells that are there, sample by sample; slabs may be of any size."""

    def __init__(self) -> None:
        self._spans: dict[int, list[Span]] = defaultdict(list)  # by sample, in order, disjoint

    def add(self, slab: Slab) -> None:
        """Take note of a slab, of which nothing was there before."""
        for s in range(slab.s0, slab.s1):
            insort(self._spans[s], (slab.n0, slab.n1))

    def missing(self, slab: Slab) -> Iterator[Slab]:
        """Cut what a slab still lacks into slabs: samples that lack the same cells stay together."""
        s0 = slab.s0
        while s0 < slab.s1:
            gaps, s1 = self._gaps(s0, slab), s0 + 1
            while s1 < slab.s1 and self._gaps(s1, slab) == gaps:
                s1 += 1
            for n0, n1 in gaps:
                yield Slab(s0, s1, n0, n1)
            s0 = s1

    def overlaps(self, slab: Slab) -> bool:
        """Whether any of a slab is there."""
        return list(self.missing(slab)) != [slab]

    def _gaps(self, s: int, slab: Slab) -> list[Span]:
        """Cells of one sample that a slab lacks."""
        gaps, n = [], slab.n0
        for n0, n1 in self._spans.get(s, ()):
            if n1 <= n or n0 >= slab.n1:
                continue
            if n0 > n:
                gaps.append((n, n0))
            n = n1
        return [*gaps, (n, slab.n1)] if n < slab.n1 else gaps
