"""Limits of control groups, version 1 and 2, of this process's group and of every group above it.

The limit is rarely on the group itself: under SLURM the leaf ``task_0`` says ``max`` and the limit is on the step or
the job. Hosts can have both versions at once: the version 1 lines of ``/proc/self/cgroup`` name their controllers,
and beside them stands a ``0::`` line, often an empty ``0::/``. So each controller is looked up by its own line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from streamsample.budget.statement import Statement, parse_count, read_text, shared

_V1_UNLIMITED = 0x7FFFFFFFFFFFF000  # "no limit" is the largest page-aligned signed 64-bit integer

# What a group can't give back when it runs short. memory.current and usage_in_bytes count the page cache as well,
# which fills up to the limit under any I/O; "unevictable" would count anonymous and shared memory twice.
_CHARGED = {
    1: ("total_rss", "total_shmem", "total_dirty", "total_writeback"),
    2: ("anon", "shmem", "file_dirty", "file_writeback", "pagetables"),
}
_MEMORY_FILES = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}


@dataclass(frozen=True)
class Group:
    """A control group that holds this process, directly or through groups below it."""

    version: int
    """1 or 2."""
    path: str
    """Its path below the mount point."""
    directory: Path
    """Where its files are."""
    top: bool
    """Whether it is the mount point, so that the groups above it, if any, are out of sight."""

    def read(self, file: str) -> str | None:
        """Read one of its files, or None."""
        return read_text(self.directory, file)

    def stat(self) -> dict[str, int]:
        """Read ``memory.stat`` as names and numbers."""
        pairs = (line.split() for line in (self.read("memory.stat") or "").splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}

    def charged(self) -> int:
        """Bytes of the group, and of those below it, that can't be reclaimed."""
        stat = self.stat()
        return sum(stat.get(name, 0) for name in _CHARGED[self.version])


def groups(controller: str, root: Path = Path("/")) -> list[Group]:
    """List this process's groups with a controller, each version from the leaf upwards."""
    member = _memberships(root)
    climbs: dict[int, list[Group]] = {}
    for version, controllers, mount_root, point in _mounts(root):
        path = member.get("" if version == 2 else controller)
        if path is None or (version == 1 and controller not in controllers):
            continue
        climb = list(_climb(version, path, mount_root, root / point.lstrip("/")))
        # A bind mount shows a part of the hierarchy only: keep the view that reaches furthest.
        climbs[version] = max(climbs.get(version, []), climb, key=len)
    return [group for version in sorted(climbs) for group in climbs[version]]


def memory_statements(root: Path, own_nbytes: int, tasks: int = 1) -> list[Statement]:
    """Collect every memory limit, each less what other processes in that group can't give back.

    Parameters
    ----------
    root
        Where ``/proc`` and ``/sys`` are looked for.
    own_nbytes
        Memory this process holds itself, which stays within its budget.
    tasks
        Processes of a job step that run this program here and share the limits above their own groups.
    """
    found = []
    for group in groups("memory", root):
        share = 1 if group.directory.name.startswith("task_") else tasks
        for file, text, limit in _memory_limits(group):
            others = max(0, group.charged() - own_nbytes)
            nbytes = max(0, min(limit // share, limit - others))
            found.append(Statement(_name(group, file), shared(text, share), nbytes=nbytes, kind="cgroup"))
    return found


def cpu_statements(root: Path) -> list[Statement]:
    """Collect every CPU quota.

    A quota of 1.5 CPUs counts as two: two threads that are held to three quarters of a CPU each do more than one
    thread at full speed.
    """
    found = []
    for group in groups("cpu", root):
        if group.version == 2:
            file, words = "cpu.max", (group.read("cpu.max") or "").split()
        else:
            file = "cpu.cfs_quota_us"
            words = [group.read(file) or "", group.read("cpu.cfs_period_us") or ""]
        quota, period = (parse_count(word) for word in words) if len(words) == 2 else (None, None)
        if quota is not None and period is not None:
            cpus = max(1, math.ceil(quota / period))
            found.append(Statement(_name(group, file), " ".join(words), cpus=cpus, kind="cgroup"))
    return found


def _memory_limits(group: Group) -> Iterator[tuple[str, str, int]]:
    """Yield file, text and bytes of the limits that a group states."""
    for file in _MEMORY_FILES[group.version]:
        text = group.read(file)
        if text and text.isdigit() and int(text) < _V1_UNLIMITED:
            yield file, text, int(text)
    # In a container the groups above are often not mounted; version 1 tells the lowest limit of them all the same.
    own = parse_count(group.read("memory.limit_in_bytes")) or _V1_UNLIMITED
    above = group.stat().get("hierarchical_memory_limit", _V1_UNLIMITED)
    if group.top and above < min(own, _V1_UNLIMITED):
        yield "memory.stat:hierarchical_memory_limit", str(above), above


def _name(group: Group, file: str) -> str:
    return f"cgroup v{group.version} {group.path.rstrip('/')}/{file}"


def _memberships(root: Path) -> dict[str, str]:
    """Map each version 1 controller, and ``""`` for version 2, to this process's path."""
    member: dict[str, str] = {}
    for line in (read_text(root, "/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        member.update(dict.fromkeys(controllers.split(","), path))
    return member


def _mounts(root: Path) -> Iterator[tuple[int, tuple[str, ...], str, str]]:
    """Yield version, controllers, mounted group and mount point of each mounted hierarchy."""
    for line in (read_text(root, "/proc/self/mountinfo") or "").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2) if rest.count(" ") >= 2 else ("", "", "")
        if kind in ("cgroup", "cgroup2"):
            mount_root, point = (_unescape(field) for field in fields.split()[3:5])
            yield 2 if kind == "cgroup2" else 1, tuple(options.split(",")), mount_root, point


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes: a space is written as backslash 040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _climb(version: int, path: str, mount_root: str, point: Path) -> Iterator[Group]:
    """Yield the groups from a process's own up to the mount point."""
    try:
        parts = PurePosixPath(path).relative_to(mount_root).parts
    except ValueError:
        parts = ()
    if ".." in parts:  # the process is outside this namespace: its path leads elsewhere
        parts = ()
    for depth in range(len(parts), -1, -1):
        above = parts[:depth]
        yield Group(version, "/" + "/".join(above), point.joinpath(*above), top=not above)
