"""One statement of a limit: who makes it, in which words, and what it comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["override", "scheduler", "cgroup", "rlimit", "environment", "host", "device"]


@dataclass(frozen=True)
class Statement:
    """A limit on memory, on CPUs or on both, as one source states it."""

    name: str
    """The source: a variable, a file of a control group, a resource limit."""
    says: str
    """What was found there, in its own words."""
    nbytes: int | None = None
    """Bytes that this process may come to hold, by this source; None: it does not limit memory."""
    cpus: int | None = None
    """CPUs that this process may keep busy, by this source; None: it does not limit them."""
    kind: Kind = "host"
    """The sort of source; a scheduler or a control group makes an allocation a dedicated one."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def shared(says: str, tasks: int) -> str:
    """Add to what a source says that several tasks share it."""
    return says if tasks == 1 else f"{says} / {tasks} tasks"


def read_text(root: Path, path: str) -> str | None:
    """Read a file of ``/proc`` or ``/sys`` below `root`; None if it is absent or can't be read."""
    try:
        return (root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def parse_count(text: str | None) -> int | None:
    """Read a positive integer; None for anything else."""
    try:
        number = int(text or "")
    except ValueError:
        return None
    return number if number > 0 else None
