"""Resource limits of the process: address space, data, and resident set where a scheduler means it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from streamsample.budget.host import status_bytes
from streamsample.budget.statement import Statement, read_text
from streamsample.units import MIB

# The limit, its line in /proc/self/limits, and the line of /proc/self/status that counts against it.
_LIMITS = (
    ("RLIMIT_AS", "Max address space", "VmSize"),
    ("RLIMIT_DATA", "Max data size", "VmData"),
    ("RLIMIT_RSS", "Max resident set", None),
)

_KERNELS = "streamsample.kernels.slab"
# Numba, LLVM and what it compiles; for each thread, for one that encodes beside it, and for the writer a stack and an
# arena of malloc's (64 MiB; how many there are depends on chance). Measured for 1, 2 and 8 threads, in MiB: 443, 642,
# 886 raw; 497, 692, 1,299 compressed.
_TO_COME = {"RLIMIT_AS": (512 * MIB, 136 * MIB), "RLIMIT_DATA": (16 * MIB, 8 * MIB)}


def space_to_come(threads: int) -> dict[str, int]:
    """Bytes of each limit that a run in this process will take and not fill with data: libraries, stacks, arenas."""
    if _KERNELS in sys.modules:  # what they need is mapped
        return {}
    return {name: fixed + threads * each for name, (fixed, each) in _TO_COME.items()}


def statements(
    root: Path, own_nbytes: int, *, resident: bool = False, to_come: Mapping[str, int] | None = None
) -> list[Statement]:
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
    to_come
        Bytes of each limit that will be taken and hold no data; see `space_to_come`.
    """
    status = status_bytes(root)
    found = []
    for name, label, counted in _LIMITS:
        limit = _soft_limit(root, name, label)
        if limit is None or (name == "RLIMIT_RSS" and not resident):
            continue
        reserved = max(0, status.get(counted, 0) - own_nbytes) if counted else 0
        reserved += (to_come or {}).get(name, 0)
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
