"""An output is complete or absent, and unfinished it can be continued: partial name, lock, journal, rename."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from streamsample.errors import (
    CountOverflow,
    DiskRefused,
    Interrupted,
    OutputExists,
    StoreError,
    StreamsampleError,
    how_to_continue,
)
from streamsample.stores.base import Labels, Landing, Store
from streamsample.stores.disk import PASSING, refusal
from streamsample.stores.journal import Journal, Line, Record, read_journal
from streamsample.stores.lock import OutputLock
from streamsample.stores.manifest import Manifest
from streamsample.stores.places import Places
from streamsample.stores.table import table_of
from streamsample.stores.writing import Writing

logger = logging.getLogger(__name__)


class Output:
    """The files of one output between start and rename; a context manager.

    Leaving the context without `commit` keeps what is in the journal, for a run that resumes; where there is nothing,
    or it can be of no use, all is removed. What had the final name before stays.

    Parameters
    ----------
    store
        Its format.
    path
        The final name.
    overwrite
        Whether an output of that name, finished or not, may be replaced.
    resume
        Whether an unfinished one may be continued; what is complete stays.
    break_lock
        Whether to go on where another process seems to write the same output.
    """

    def __init__(
        self, store: Store, path: Path, *, overwrite: bool = False, resume: bool = False, break_lock: bool = False
    ) -> None:
        self._store = store
        self._places = Places(store, path)
        self._overwrite = overwrite
        self._resume = resume
        self._lock = OutputLock(self._places.lock, breaks=break_lock)
        self._record: Record | None = None
        self._writing: Writing | None = None
        self._begun = self._committed = False

    @property
    def partial(self) -> Path:
        """Where the counts are written until they are complete."""
        return self._places.partial[0]

    def __enter__(self) -> Output:
        """Refuse what exists, and make sure that nobody else writes the same output."""
        self._places.refuse_folder()
        if not self._resume and not self._overwrite:
            self._places.refuse_existing()
        try:
            self._lock.acquire()
        except DiskRefused as error:
            if self._resume:
                self._record = self._look()
            if (told := self._told(error)) is not error:
                raise told from error
            raise
        try:
            self._record = self._look()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what can be continued, drop the rest, and say in one line what the disk has refused."""
        busy = False
        try:
            busy = not self._let_go(error)
        finally:
            if not busy:
                self._lock.release()
        if isinstance(error, OSError) and not isinstance(error, StreamsampleError):
            raise self._told(refusal(self._places.final[0], error)) from error
        if isinstance(error, DiskRefused) and (told := self._told(error)) is not error:
            raise told from error

    def is_complete(self, manifest: Manifest) -> bool:
        """Look at what is there of a run, and return whether that is all of it.

        Raises
        ------
        OutputExists
            If what is there is of another run, and may not be replaced; names the item that differs.
        """
        record = self._record
        if record is not None and (problem := manifest.difference(record.manifest)):
            if not self._overwrite:
                raise OutputExists(_another(self.partial, problem))
            record = self._record = None
        if record is not None and record.finished:  # cut off while it got its names
            self._committed = self._rename_rest() and self._is_same(manifest)
            self._record = record if self._committed else None
        elif self._resume and self._places.final[0].exists() and not (record and self._overwrite):
            self._committed = self._is_same(manifest)
        return self._committed

    def begin(self, manifest: Manifest, labels: Labels, threads: int = 1) -> Writing:
        """Make the files, or open those of the run that is continued; `threads` may encode."""
        self._begun = True
        landing = self._land(manifest, labels, threads)
        lines, path = self._lines, self._places.journal
        journal = Journal(path) if lines else Journal.create(path, manifest)
        self._identity = self.partial.stat()
        self._writing = Writing(landing, journal, lines, self._check_place)
        return self._writing

    def commit(self, writing: Writing, manifest: Manifest, labels: Labels) -> None:
        """Add the table of checksums, and give the files their final names.

        Raises
        ------
        OutputExists
            If somebody else has made a file of that name meanwhile; this one stays unfinished.
        """
        writing.flush()
        if not self._overwrite:
            self._places.refuse_existing()
        done = manifest.completed(table_of(writing.lines, manifest.shape, manifest.dtype))
        self._store.finish(self.partial, done, labels, tuple(writing.lines))
        writing.finish()
        self._places.rename()
        self._committed = True

    def _rename_rest(self) -> bool:
        """Give the files of a finished run their final names; False where they were removed, and may be made anew."""
        gone = self._places.gone()
        if gone and not self._overwrite:
            raise StoreError(
                f"{self._places.journal} says that all is written, but {gone[0]} is gone; "
                "give overwrite=True (--overwrite) to start again"
            )
        if not gone:
            self._places.rename()
        return not gone

    @property
    def _lines(self) -> tuple[Line, ...]:
        """Slabs that a former run has left, and this one continues."""
        return () if self._record is None else self._record.lines

    def _land(self, manifest: Manifest, labels: Labels, threads: int) -> Landing:
        """Open what a former run has left, or begin anew where there is none, or it is damaged and may be replaced."""
        if self._lines:
            try:
                if not self.partial.exists():
                    raise StoreError(
                        f"{self._places.journal} is there, but {self.partial} is not; "
                        "give overwrite=True (--overwrite) to start again"
                    )
                return self._store.begin(self.partial, manifest, labels, self._lines, threads)
            except DiskRefused:
                raise
            except StoreError as error:
                if not self._overwrite:
                    raise
                logger.warning("starting again: %s", error)
                self._record = None
        self._places.discard()
        return self._store.begin(self.partial, manifest, labels, (), threads)

    def _look(self) -> Record | None:
        """Read what a former run has left in the journal."""
        try:
            record = read_journal(self._places.journal)
        except StoreError:
            if self._overwrite:
                return None
            raise
        if record is None or not (record.lines or record.finished):
            return None
        if not self._resume and not self._overwrite:
            raise OutputExists(
                f"{self.partial} is there, unfinished ({record.share:.1%} written); give resume=True (--resume) to "
                "continue it, or overwrite=True (--overwrite) to start again"
            )
        return record if self._resume else None

    def _is_same(self, manifest: Manifest) -> bool:
        """Whether the finished output is that of this run; one of another run may perhaps be replaced."""
        path = self._places.final[0]
        try:
            problem = manifest.difference(self._store.open(path).manifest)
        except StoreError as error:
            problem = str(error)
        if problem is not None and not self._overwrite:
            raise OutputExists(_another(path, problem, self._record))
        return problem is None

    def _check_place(self) -> None:
        """Make sure that the files are still there, and still this run's."""
        try:
            there = os.path.samestat(self.partial.stat(), self._identity) and self._places.journal.exists()
        except FileNotFoundError:
            there = False
        if not there:
            raise StoreError(f"{self.partial} was removed or replaced while it was written; start again")
        self._lock.check()

    def _let_go(self, error: BaseException | None) -> bool:
        """Make safe what was written, unless the user is in a hurry, and close; False where a thread still writes."""
        if self._writing is not None:
            if error is not None and not isinstance(error, KeyboardInterrupt | OSError):
                with suppress(StreamsampleError, OSError):
                    self._writing.flush()
            if not self._writing.close():  # interrupted again while that was waited for: the lock must outlive it
                return False
        if self._begun and not self._committed and not self._is_worth_keeping(error):
            with suppress(OSError):
                self._lock.check()
                self._places.discard()
        return True

    def _is_worth_keeping(self, error: BaseException | None) -> bool:
        """Whether slabs are safe, and a run that resumes has use for them: an overflow would come again."""
        lines = self._lines if self._writing is None else self._writing.lines
        return bool(lines) and not isinstance(error, CountOverflow)

    def _told(self, error: DiskRefused) -> StreamsampleError:
        """What the disk has refused ends a run, but not what is safe already."""
        if error.errno not in PASSING or not self._is_worth_keeping(error):
            return error
        return Interrupted(f"{error}; what is written is safe: continue with {how_to_continue(self._overwrite)}")


def _another(path: Path, problem: str, record: Record | None = None) -> str:
    """Say that an output is of another run, and the way out; `record` is of an unfinished one of this run."""
    if record is None:
        return f"{path} is of another run: {problem}; give overwrite=True (--overwrite) to replace it"
    return (
        f"{path} is of another run: {problem}; beside it is an unfinished one of this run ({record.share:.1%} "
        f"written): give {how_to_continue(True)} to finish that and replace this"
    )
