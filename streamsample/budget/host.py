"""The machine itself: physical memory, the CPUs the process may run on, and what the process holds."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from streamsample.budget.statement import Statement, read_text, shared
from streamsample.units import GIB

_LINE = re.compile(r"^(\w+(?:\(\w+\))?):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Physical:
    """Memory of the host, not of a container on it."""

    name: str
    """Who says so."""
    total: int
    """Bytes in all."""
    available: int | None
    """Bytes that can be had without swapping, page cache included; None: not known."""


def load_psutil() -> ModuleType | None:
    """Import psutil, or return None where it is not installed."""
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


def status_bytes(root: Path) -> dict[str, int]:
    """Read the sizes in ``/proc/self/status``, in bytes; empty where there is no ``/proc``."""
    return _kib_lines(read_text(root, "/proc/self/status"))


def process_nbytes(root: str | Path = "/") -> int:
    """Bytes of anonymous and shared memory that this process holds now; mapped files are not among them."""
    status = status_bytes(Path(root))
    if "RssAnon" in status:
        return status["RssAnon"] + status.get("RssShmem", 0)
    if "VmRSS" in status or Path(root) != Path("/"):
        return status.get("VmRSS", 0)
    psutil = load_psutil()
    return 0 if psutil is None else int(psutil.Process().memory_info().rss)


def physical(root: Path) -> Physical | None:
    """Find the host's memory: from psutil, else ``/proc/meminfo``, else the system's configuration."""
    here = root == Path("/")
    psutil = load_psutil() if here else None
    if psutil is not None:
        memory = psutil.virtual_memory()
        return Physical("psutil", int(memory.total), int(memory.available))
    meminfo = _kib_lines(read_text(root, "/proc/meminfo"))
    if "MemTotal" in meminfo:
        # Kernels before 3.14 do not state MemAvailable; what is free is a safe answer.
        return Physical("/proc/meminfo", meminfo["MemTotal"], meminfo.get("MemAvailable", meminfo.get("MemFree")))
    if here and "SC_PHYS_PAGES" in os.sysconf_names:
        return Physical("sysconf", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None)
    return None


def memory_statements(memory: Physical | None, own_nbytes: int, tasks: int = 1) -> list[Statement]:
    """State the host's memory, and what of it is available beyond what this process holds already."""
    if memory is None:
        return []
    says = shared(f"{memory.total / GIB:.1f} GiB", tasks)
    found = [Statement("physical memory", says, nbytes=memory.total // tasks)]
    if memory.available is not None:
        says = shared(f"{memory.available / GIB:.1f} GiB available", tasks)
        found.append(Statement(memory.name, says, nbytes=memory.available // tasks + own_nbytes))
    return found


def cpu_statements(root: Path) -> list[Statement]:
    """State the CPUs that the process may run on."""
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)$", read_text(root, "/proc/self/status") or "", re.MULTILINE)
    if match is not None:
        return [Statement("affinity", match[1], cpus=_list_length(match[1]))]
    if root != Path("/"):
        return []
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
        return [Statement("affinity", str(cpus), cpus=cpus)]
    return [Statement("CPUs of the machine", str(os.cpu_count()), cpus=os.cpu_count() or 1)]


def _kib_lines(text: str | None) -> dict[str, int]:
    return {name: int(kib) * 1024 for name, kib in _LINE.findall(text or "")}


def _list_length(text: str) -> int:
    """Count the items of ``0-3,8``."""
    ends = (part.partition("-") for part in text.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
