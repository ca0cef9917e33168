"""Real memory groups for tests: a limit on the parent, none on the leaf where the processes run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_serial = itertools.count()

_LIMIT_FILE = {1: "memory.limit_in_bytes", 2: "memory.max"}
_CHARGED = {
    1: ("total_rss", "total_shmem", "total_dirty", "total_writeback"),
    2: ("anon", "shmem", "file_dirty", "file_writeback", "pagetables"),
}
# The shell joins the group, then becomes the program: nothing of it is charged elsewhere.
_JOIN = 'echo $$ > "$0" && exec "$@"'


@dataclass(frozen=True)
class MemoryGroup:
    """A group with a limit, and the group below it that processes join."""

    version: int
    path: Path
    leaf: Path

    @property
    def procs_file(self) -> Path:
        return self.leaf / "cgroup.procs"

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside."""
        return ["sh", "-c", _JOIN, str(self.procs_file), *map(str, argv)]

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(argv), **{"capture_output": True, "text": True, "check": False, **options})

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(self.argv(argv), **options)

    def limit(self, nbytes: int, patience_seconds: float = 5.0) -> None:
        """Set the limit; version 1 refuses one below what is held, until the processes have given some back."""
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                (self.path / _LIMIT_FILE[self.version]).write_text(str(nbytes))
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def peak_until_end(self, process: subprocess.Popen[Any]) -> int:
        """Largest usage, looked at every 10 ms until a process ends."""
        peak = 0
        while process.poll() is None:
            peak = max(peak, self.usage())
            time.sleep(0.01)
        return peak

    def usage(self) -> int:
        """Bytes of the limited group, leaf included, that can't be reclaimed: anonymous, shared and dirty ones."""
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return sum(int(stat.get(name, 0)) for name in _CHARGED[self.version])


def available() -> str | None:
    """Say why memory groups can't be made here; None if they can."""
    try:
        with memory_group(64 * 2**20) as group:
            joined = group.run(["true"], timeout=10)
            return None if joined.returncode == 0 else f"a process can't join a memory group: {joined.stderr.strip()}"
    except OSError as error:
        return f"a memory group can't be made here: {error}"


@contextmanager
def memory_group(limit_bytes: int, leaf: bool = True) -> Iterator[MemoryGroup]:
    """Make a group limited to `limit_bytes`, with an unlimited one below it for the processes if `leaf`."""
    version, mount = _hierarchy()
    path = mount / f"streamsample-test-{os.getpid()}-{next(_serial)}"
    inner = path / "leaf" if leaf else path
    try:
        path.mkdir()
        if version == 2 and leaf:
            (path / "cgroup.subtree_control").write_text("+memory")
        inner.mkdir(exist_ok=True)
        made = MemoryGroup(version, path, inner)
        made.limit(limit_bytes)
        yield made
    finally:
        for group in dict.fromkeys((inner, path)):
            _remove(group)


def _hierarchy() -> tuple[int, Path]:
    """Version and mount point of the hierarchy that has the memory controller."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, point, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            return 1, Path(point)
    for _, point, kind, *_ in mounts:
        if kind == "cgroup2" and "memory" in Path(point, "cgroup.controllers").read_text().split():
            Path(point, "cgroup.subtree_control").write_text("+memory")
            return 2, Path(point)
    raise OSError("no hierarchy with a memory controller is mounted")


def _remove(group: Path, patience_seconds: float = 5.0) -> None:
    """Kill what is left in a group, and remove it as soon as the kernel lets go of it."""
    deadline = time.monotonic() + patience_seconds
    while group.is_dir():
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
