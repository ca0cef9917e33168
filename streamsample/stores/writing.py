"""Slabs on their way: written, put on the disk, and then into the journal, in this order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from streamsample.geometry import Slab
from streamsample.stores.base import CountArray, Landing
from streamsample.stores.checksums import checksum
from streamsample.stores.coverage import Coverage
from streamsample.stores.journal import Journal, Line

COMMIT_SECONDS = 1.0
"""Slabs are made safe together so often: a kill costs a second of work, a sync some milliseconds."""


class Writing:
    """An output that is being written, by one thread.

    Parameters
    ----------
    landing
        Takes the slabs.
    journal
        Takes their lines.
    lines
        Slabs that were safe before.
    check
        Raises an error if the output is not this run's anymore.
    """

    def __init__(self, landing: Landing, journal: Journal, lines: Iterable[Line], check: Callable[[], None]) -> None:
        self.lines = list(lines)
        """Slabs safely written."""
        self._landing = landing
        self._journal = journal
        self._check = check
        self._pending: list[Line] = []  # written, but perhaps not on the disk
        self._last = time.monotonic()

    def coverage(self) -> Coverage:
        """Say which counts are safe, and need not be computed."""
        there = Coverage()
        for line in self.lines:
            there.add(line.slab)
        return there

    def phase(self, slab: Slab) -> int:
        """Say how far behind the beginning of a block a slab should lie in memory; see `Landing.phase`."""
        return self._landing.phase(slab)

    def write(self, slab: Slab, counts: CountArray) -> None:
        """Write one slab (s, n, t), and make it safe now or soon; raises `DiskRefused`."""
        runs = self._landing.write(slab, counts)
        checksums = tuple(checksum(sample.data.cast("B")) for sample in counts)
        self._pending.append(Line(slab, checksums, runs))
        if time.monotonic() - self._last >= COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put all slabs written so far on the disk, and then into the journal."""
        # After a sync that fails, nobody knows what is on the disk: these slabs are computed again.
        lines, self._pending = self._pending, []
        self._check()
        if lines:
            self._landing.sync()
            self._journal.append(lines)
            self.lines += lines
        self._last = time.monotonic()

    def finish(self) -> None:
        """Say that everything is on the disk, and only the names are left."""
        self._check()
        self._journal.finish()

    def close(self) -> None:
        """Let go of the files."""
        self._landing.close()
        self._journal.close()
