"""Slabs on their way: written, put on the disk, and then into the journal, in this order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from streamsample.errors import Interrupted
from streamsample.geometry import Slab
from streamsample.stores.base import CountArray, Landing
from streamsample.stores.checksums import checksum
from streamsample.stores.coverage import Coverage
from streamsample.stores.journal import Journal, Line

COMMIT_SECONDS = 1.0
"""Slabs are made safe together so often: a kill costs a second of work, a sync some milliseconds."""
_CHECK_SECONDS = 0.1  # within a slab, whether it is still this run's output is looked up no more often


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
        self._checked = 0.0
        self._stopped = threading.Event()
        self._busy = threading.Lock()  # held by the one thread that uses the files

    def coverage(self) -> Coverage:
        """Say which counts are safe, and need not be computed."""
        there = Coverage()
        for line in self.lines:
            there.add(line.slab)
        return there

    def phase(self, slab: Slab) -> int:
        """Say how far behind the beginning of a block a slab should lie in memory; see `Landing.phase`."""
        return self._landing.phase(slab)

    def write(self, slab: Slab, counts: CountArray) -> int:
        """Write one slab (s, n, t), and make it safe now or soon; return its bytes as written.

        Raises `DiskRefused` where the disk does not take it. Whose output it is is asked before anything is written:
        encoded chunks go to the end of a file, which another run that has taken over may be writing, too.
        """
        with self._busy:
            self._check_now()
            runs = self._landing.write(slab, counts, self._go_on)
            checksums = tuple(checksum(sample.data.cast("B")) for sample in counts)
            self._pending.append(Line(slab, checksums, runs))
            if time.monotonic() - self._last >= COMMIT_SECONDS:
                self._flush()
        return sum(run.nbytes for run in runs) if runs else counts.nbytes

    def flush(self) -> None:
        """Put all slabs written so far on the disk, and then into the journal."""
        with self._busy:
            self._flush()

    def stop(self) -> None:
        """Let a slab that is being written by another thread end after the piece it is at; none is written anymore."""
        self._stopped.set()

    def finish(self) -> None:
        """Say that everything is on the disk, and only the names are left."""
        self._check()
        self._journal.finish()

    def close(self) -> bool:
        """Let go of the files, unless another thread is writing; returns whether that could be done."""
        # A descriptor that is closed under a thread may be another file's by the time it is written to.
        if not self._busy.acquire(blocking=False):
            return False
        self._landing.close()
        self._journal.close()
        return True

    def _flush(self) -> None:
        # After a sync that fails, nobody knows what is on the disk: these slabs are computed again.
        lines, self._pending = self._pending, []
        self._check_now()
        if lines:
            self._landing.sync()
            self._check_now()  # a sync may take long
            self._journal.append(lines)
            self.lines += lines
        self._last = time.monotonic()

    def _check_now(self) -> None:
        if self._stopped.is_set():
            raise Interrupted("the slab was not written to its end: the run was stopped")
        self._check()
        self._checked = time.monotonic()

    def _go_on(self) -> None:
        """Raise an error where a slab is not to be written to its end."""
        if self._stopped.is_set() or time.monotonic() - self._checked >= _CHECK_SECONDS:
            self._check_now()
