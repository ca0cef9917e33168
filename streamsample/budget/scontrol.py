"""What SLURM's controller says of a job whose environment has no memory variable.

``--mem=0``, no ``--mem`` at all and a direct ``srun --mem=1G`` set none, yet the job is limited to its allocation and
killed above it. The controller knows; it is asked only then, and only where the client is installed.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

from streamsample.budget.slurm import MEMORY_VARIABLES, local_tasks
from streamsample.budget.statement import Statement, shared
from streamsample.units import MIB, parse_bytes

logger = logging.getLogger(__name__)

Runner = Callable[[Sequence[str]], str]

_TIMEOUT_SECONDS = 10  # a controller that is down makes the client retry for minutes
_PER_NODE = re.compile(r"\bNodes=(\S+) CPU_IDs=\S* Mem=(\d+)")
_TOTAL = re.compile(r"(?<![A-Za-z])(?:Alloc)?TRES=\S*?\bmem=([0-9.]+[KMGT]?)")
_NODES = re.compile(r"\bNumNodes=(\d+)")


def call(argv: Sequence[str]) -> str:
    """Run the client and return what it prints; nothing if it is missing, fails or does not answer."""
    if shutil.which(argv[0]) is None:
        return ""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("%s did not answer: %s", argv[0], error)
        return ""
    return done.stdout


def statements(environ: Mapping[str, str], run: Runner = call) -> list[Statement]:
    """Ask the controller for the job's memory on this node, where the environment does not tell it."""
    job = environ.get("SLURM_JOB_ID")
    if not job or any(environ.get(name) for name in MEMORY_VARIABLES):
        return []
    nbytes = node_memory(run(["scontrol", "-d", "show", "job", job]), environ.get("SLURMD_NODENAME"))
    if nbytes is None:
        return []
    tasks = local_tasks(environ)
    says = shared(f"{nbytes // MIB} MB", tasks)
    return [Statement("scontrol show job", says, nbytes=nbytes // tasks, kind="scheduler")]


def node_memory(answer: str, node: str | None) -> int | None:
    """Find the job's bytes on one node in the answer to ``scontrol -d show job``.

    Parameters
    ----------
    answer
        What the client printed.
    node
        Name of this node; the smallest of the nodes where it is not known.
    """
    per_node = {names: int(mem) * MIB for names, mem in _PER_NODE.findall(answer) if int(mem) > 0}
    here = [nbytes for names, nbytes in per_node.items() if node in expand_hosts(names)]
    if here or per_node:
        return min(here or per_node.values())
    total, nodes = _TOTAL.search(answer), _NODES.search(answer)
    if total is None or nodes is None:
        return None
    return parse_bytes(total[1], unit=MIB) // max(1, int(nodes[1])) or None


def expand_hosts(text: str) -> list[str]:
    """Read a list of nodes: ``n[1-2,07],login`` is ``n1``, ``n2``, ``n07`` and ``login``."""
    names: list[str] = []
    for prefix, ranges in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?", text):
        for part in ranges.split(",") if ranges else [""]:
            first, _, last = part.partition("-")
            if last:
                names += [f"{prefix}{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
            else:
                names.append(prefix + first)
    return names
