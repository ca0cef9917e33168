"""Made ``/proc`` and ``/sys`` trees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

V1_MOUNT = "35 31 0:32 {inside} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
V2_MOUNT = "41 31 0:38 {inside} {point} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
UNLIMITED = "9223372036854771712"


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Write files below `root`, each with a line end as the kernel does."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


def v2(root: Path, path: str = "/", inside: str = "/", point: str = "/sys/fs/cgroup") -> Path:
    """Make a host with the unified hierarchy only."""
    mount = V2_MOUNT.format(inside=inside, point=point)
    return write(root, {"/proc/self/cgroup": f"0::{path}", "/proc/self/mountinfo": mount})


def hybrid(root: Path, path: str, inside: str = "/") -> Path:
    """Make a host with version 1 controllers and an empty version 2 beside them."""
    mounts = [V1_MOUNT.format(inside=inside, name=name) for name in ("memory", "cpu")]
    mounts.append(V2_MOUNT.format(inside="/", point="/sys/fs/cgroup/unified"))
    members = f"9:name=systemd:/\n4:memory:{path}\n1:cpu,cpuacct:{path}\n0::/"
    write(root, {"/proc/self/cgroup": members, "/proc/self/mountinfo": "\n".join(mounts)})
    return write(root, {"/sys/fs/cgroup/unified/cgroup.controllers": ""})


def host(root: Path, total_kib: int, available_kib: int, cpus: str = "0-3", own_kib: int = 0) -> Path:
    """Make a machine and a process on it."""
    meminfo = f"MemTotal:       {total_kib} kB\nMemFree:        1 kB\nMemAvailable:   {available_kib} kB"
    status = (
        f"VmSize:\t{own_kib + 4096} kB\nVmData:\t{own_kib + 1024} kB\nVmRSS:\t{own_kib} kB\n"
        f"RssAnon:\t{own_kib} kB\nRssFile:\t900 kB\nRssShmem:\t0 kB\nCpus_allowed_list:\t{cpus}"
    )
    return write(root, {"/proc/meminfo": meminfo, "/proc/self/status": status})
