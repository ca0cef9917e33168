"""From what the journal says to the table of checksums of the finished file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from streamsample.errors import StoreError
from streamsample.geometry import Shape, Slab
from streamsample.stores.checksums import checksum, combine
from streamsample.stores.journal import Line
from streamsample.stores.manifest import SlabCheck


def table_of(lines: Iterable[Line], shape: Shape, dtype: str) -> tuple[SlabCheck, ...]:
    """Return one checksum a sample, the same ones however the samples were cut.

    Parameters
    ----------
    lines
        Slabs that hold every count once.
    shape
        (S, N, T) of the counts.
    dtype
        Their type.

    Raises
    ------
    StoreError
        If the slabs do not hold all counts.
    """
    row = shape[2] * np.dtype(dtype).itemsize
    parts: dict[int, list[tuple[int, int, int]]] = defaultdict(list)  # by sample: first cell, end, checksum
    for line in lines:
        for s, value in zip(range(line.slab.s0, line.slab.s1), line.checksums, strict=True):
            parts[s].append((line.slab.n0, line.slab.n1, value))
    checks = []
    for s in range(shape[0]):
        end, total = 0, checksum(b"")
        for n0, n1, value in sorted(parts[s]):
            if n0 != end:
                break
            end, total = n1, combine(total, value, (n1 - n0) * row)
        if end != shape[1]:
            raise StoreError(f"sample {s} of the output has {end} of {shape[1]} cells; resume the run")
        checks.append(SlabCheck(Slab(s, s + 1, 0, shape[1]), total))
    return tuple(checks)
