"""Resource limits of the process: address space, data, and resident set where a scheduler means it."""

from __future__ import annotations

import importlib
from pathlib import Path

from streamsample.budget.host import status_bytes
from streamsample.budget.statement import Statement, read_text

# The limit, its line in /proc/self/limits, and the line of /proc/self/status that counts against it.
_LIMITS = (
    ("RLIMIT_AS", "Max address space", "VmSize"),
    ("RLIMIT_DATA", "Max data size", "VmData"),
    ("RLIMIT_RSS", "Max resident set", None),
)


def statements(root: Path, own_nbytes: int, *, resident: bool = False) -> list[Statement]:
    """Collect the soft limits that are set.

    Parameters
    ----------
    root
        Where ``/proc`` is looked for.
    own_nbytes
        Memory this process holds. Address space beyond it (libraries, stacks, reserved arenas) counts against the
        limits but holds no data, so it is taken off.
    resident
        Count ``RLIMIT_RSS`` too. Linux does not enforce it, but PBS and LSF state a job's memory by it.
    """
    status = status_bytes(root)
    found = []
    for name, label, counted in _LIMITS:
        limit = _soft_limit(root, name, label)
        if limit is None or (name == "RLIMIT_RSS" and not resident):
            continue
        reserved = max(0, status.get(counted, 0) - own_nbytes) if counted else 0
        found.append(Statement(name, str(limit), nbytes=max(0, limit - reserved), kind="rlimit"))
    return found


def _soft_limit(root: Path, name: str, label: str) -> int | None:
    """Read one soft limit in bytes; None if there is none."""
    text = read_text(root, "/proc/self/limits")
    if text is not None:
        words = next((line[len(label) :].split() for line in text.splitlines() if line.startswith(label)), [])
        return int(words[0]) if words and words[0].isdigit() else None
    if root != Path("/"):
        return None
    try:
        resource = importlib.import_module("resource")  # not there on every system
    except ImportError:
        return None
    soft = resource.getrlimit(getattr(resource, name))[0] if hasattr(resource, name) else resource.RLIM_INFINITY
    return None if soft == resource.RLIM_INFINITY else int(soft)
