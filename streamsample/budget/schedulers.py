"""CPUs that PBS, LSF and SGE give a job; its memory arrives as resource limits or as a control group.

None of them sets a variable for memory that can be relied on: PBS turns ``mem`` into ``RLIMIT_RSS`` and ``vmem`` into
``RLIMIT_AS``, SGE turns ``h_vmem`` into ``RLIMIT_AS``, LSF turns ``-M`` into ``RLIMIT_RSS`` or a control group. Some
sites' LSF states it as well: ``LSB_CG_MEMLIMIT`` in hexadecimal bytes, ``LSB_MEMLIMIT`` in ``LSF_UNIT_FOR_LIMITS``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from streamsample.budget.statement import Statement, parse_count
from streamsample.units import GIB, KIB, MIB, TIB, format_bytes

_JOB_VARIABLES = ("PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID")
_CPU_VARIABLES = ("NCPUS", "LSB_DJOB_NUMPROC", "NSLOTS")
_LSF_UNITS = {"KB": KIB, "MB": MIB, "GB": GIB, "TB": TIB}


def in_job(environ: Mapping[str, str]) -> bool:
    """Tell whether this process is part of a PBS, LSF or SGE job."""
    return any(environ.get(name) for name in _JOB_VARIABLES)


def statements(environ: Mapping[str, str], hostname: str | None = None) -> list[Statement]:
    """Collect the CPUs that these schedulers state, and the memory where LSF does, one statement a variable."""
    found = []
    for name in _CPU_VARIABLES:
        cpus = parse_count(environ.get(name))
        if cpus is not None:
            found.append(Statement(name, environ[name], cpus=cpus, kind="scheduler"))
    found += _lsf_memory(environ)
    hosts = environ.get("LSB_MCPU_HOSTS", "")
    here = _lsf_cpus(hosts, socket.gethostname() if hostname is None else hostname)
    if here is not None:
        found.append(Statement("LSB_MCPU_HOSTS", hosts, cpus=here, kind="scheduler"))
    return found


def _lsf_memory(environ: Mapping[str, str]) -> list[Statement]:
    """Read what LSF says of a job's memory; what can't be read, and 0, is no limit."""
    unit = environ.get("LSF_UNIT_FOR_LIMITS", "KB").strip().upper()
    numbers = {
        "LSB_CG_MEMLIMIT": (_number(environ.get("LSB_CG_MEMLIMIT"), 16), 1),
        "LSB_MEMLIMIT": (_number(environ.get("LSB_MEMLIMIT"), 10), _LSF_UNITS.get(unit, KIB)),
    }
    return [
        Statement(
            name, f"{environ[name]}{'' if size == 1 else f' x {format_bytes(size)}'}", number * size, kind="scheduler"
        )
        for name, (number, size) in numbers.items()
        if number
    ]


def _number(text: str | None, base: int) -> int:
    try:
        return max(0, int(text or "", base))
    except ValueError:
        return 0


def _lsf_cpus(text: str, hostname: str) -> int | None:
    """Pick this host from ``hostA 4 hostB 2``; names may be long or short."""
    words = text.split()
    short = hostname.partition(".")[0]
    counts = [parse_count(n) for name, n in zip(words[::2], words[1::2], strict=False) if name.split(".")[0] == short]
    return counts[0] if counts else None
