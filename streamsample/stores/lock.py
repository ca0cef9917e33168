"""One writer an output: a lock file that says who writes, where, and since when; it works where file locks don't."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamsample.errors import OutputLocked
from streamsample.stores.disk import refusal
from streamsample.units import format_seconds

HEARTBEAT_SECONDS = 10.0
"""The lock file is touched so often; its age says when its holder was last alive."""
BREAK_SECONDS = 3.0
"""A holder that may be alive gets so long to notice that its lock was broken: it looks before each slab, within one
every 0.1 s, and before the journal gets its lines, which is about once a second."""
_SILENT_SECONDS = 6 * HEARTBEAT_SECONDS  # a holder that has not touched its lock for so long does so no more
_EMPTY_SECONDS = 1.0  # a lock that stays without a holder for so long was left between its making and its writing


class OutputLock:
    """Who holds the file holds the output.

    Parameters
    ----------
    path
        The lock file.
    breaks
        Whether to take over a lock whose holder may be alive.
    """

    def __init__(self, path: Path, *, breaks: bool = False) -> None:
        self._path = path
        self._breaks = breaks
        self._text = ""
        self._done = threading.Event()

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        OutputLocked
            If somebody else has it; names them.
        DiskRefused
            If the file can't be made or read.
        """
        self._text = json.dumps({**_myself(), "token": uuid.uuid4().hex})
        patience, broken = time.monotonic() + _EMPTY_SECONDS, False
        while not self._create():
            found = self._read()
            if found == "" and not self._breaks and time.monotonic() < patience:
                time.sleep(0.05)
            elif found is not None:
                if found and not _is_dead(holder := _parse(found), self._age()):
                    if not self._breaks:
                        raise OutputLocked(self._refusal(holder))
                    broken = True
                self._put_aside(found)
        if broken:
            self._let_notice()
        threading.Thread(target=self._beat, name="streamsample-heartbeat", daemon=True).start()

    def _let_notice(self) -> None:
        """Wait until a holder that may be alive has seen that the lock is its own no more."""
        try:
            time.sleep(BREAK_SECONDS)
            self.check()
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raise `OutputLocked` if somebody has broken this lock, so that two never write."""
        if (found := self._read()) != self._text:
            by = f"process {_parse(found).get('pid')} on {_parse(found).get('host')}" if found else "somebody"
            raise OutputLocked(
                f"the lock {self._path} was taken away by {by}; this run stops, and changes nothing more"
            )

    def release(self) -> None:
        """Give the lock back."""
        self._done.set()
        with suppress(OSError):
            if self._read() == self._text:
                self._path.unlink()

    def _create(self) -> bool:
        """Make the file with this process in it; False where there is one."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise refusal(self._path, error, "made") from error
        try:
            os.write(descriptor, self._text.encode())
        except OSError as error:
            with suppress(OSError):
                self._path.unlink()
            raise refusal(self._path, error) from error
        finally:
            os.close(descriptor)
        return self._read() == self._text

    def _read(self) -> str | None:
        """What is in the file; None where there is none. Raises `DiskRefused` where that can't be said."""
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:  # it may still be this run's
            raise refusal(self._path, error, "read") from error

    def _put_aside(self, stale: str) -> None:
        """Remove a stale lock, but not one that somebody has put in its place meanwhile."""
        aside = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        try:
            os.rename(self._path, aside)
        except FileNotFoundError:
            return
        if aside.read_text(encoding="utf-8", errors="replace") != stale:
            with suppress(OSError):
                os.link(aside, self._path)
        aside.unlink()

    def _refusal(self, holder: dict[str, Any]) -> str:
        """Say who holds the lock, and the way out."""
        age = self._age()
        told = "unknown" if age is None else format_seconds(age)
        return (
            f"{self._path.name.removesuffix('.lock')} is being written by another process: {holder.get('pid')} on "
            f"{holder.get('host')} (last sign of life {told} ago); wait for it, or choose another name; "
            "if it is certainly dead, give break_lock=True (--break-lock)"
        )

    def _age(self) -> float | None:
        """Seconds since the holder was last alive; None where that is not known."""
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except OSError:
            return None

    def _beat(self) -> None:
        """Touch the file again and again, for as long as it is this one."""
        while not self._done.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                if self._read() == self._text:
                    os.utime(self._path)


def _myself() -> dict[str, Any]:
    """Who this process is, as far as another one can check."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "machine": _first_line("/etc/machine-id"),
        "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _link("/proc/self/ns/pid"),
        "job": os.environ.get("SLURM_JOB_ID"),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    }


def _is_dead(holder: dict[str, Any], age: float | None) -> bool:
    """Whether a holder is certainly no more: gone from this very system, or its job was requeued by SLURM.

    Gone is also who wrote before this machine was started again. Machines made from one image may share name and
    number, so that also takes a lock that nobody has touched for a minute.
    """
    here = _myself()
    same_job = here["job"] is not None and holder.get("job") == here["job"]
    if same_job and holder.get("restart", 0) < here["restart"]:
        return True
    differ = {key for key in ("host", "machine", "boot_id", "pid_namespace") if holder.get(key) != here[key]}
    if "boot_id" in differ and holder.get("boot_id") and here["boot_id"]:
        return not differ & {"host", "machine"} and age is not None and age > _SILENT_SECONDS
    if differ - {"machine"}:
        return False
    started = _started(int(holder.get("pid", 0)))
    return started is None or started != holder.get("started")


def _started(pid: int) -> str | None:
    """When a process was started, in ticks since boot; None if it is not there, or waits to be buried."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _parse(text: str) -> dict[str, Any]:
    """Read a lock; nothing is known of the holder of a damaged one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
