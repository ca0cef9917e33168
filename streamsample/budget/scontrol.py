"""What SLURM's controller says of the memory of a job and of a step.

``--mem=0``, no ``--mem`` at all and a direct ``srun --mem=1G`` set no variable, yet the job is limited to its
allocation and killed above it. A variable that is there may be inherited: ``SLURM_MEM_PER_NODE=12345`` in the shell
that submits without ``--mem`` stands in the job too. And in a step of a job, ``srun --mem=300`` within ``--mem=1000``,
the variables are the job's. The controller knows, so it is asked in every job, where its client is installed.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

from streamsample.budget.slurm import local_tasks
from streamsample.budget.statement import Statement, shared
from streamsample.units import MIB, parse_bytes

logger = logging.getLogger(__name__)

Runner = Callable[[Sequence[str]], str]

_TIMEOUT_SECONDS = 10  # a controller that is down makes the client retry for minutes
_PER_NODE = re.compile(r"\bNodes=(\S+) CPU_IDs=\S* Mem=(\d+)")
_TOTAL = re.compile(r"(?<![A-Za-z])(?:Alloc)?TRES=\S*?\bmem=([0-9.]+[KMGT]?)")
_NODES = re.compile(r"\b(?:Num)?Nodes=(\d+)\b")


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
    """Ask the controller for the memory of the job or the step on this node."""
    job, step = environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_ID", "")
    if not job:
        return []
    of_step = run(["scontrol", "show", "step", f"{job}.{step}"]) if step.isdigit() else ""  # only srun makes such steps
    # Of a step only the total is told. One that has all of its job's has the job's share of each node, even or not.
    of_job = run(["scontrol", "-d", "show", "job", job])
    asked = {"scontrol show job": of_job}
    if _total(of_step) != _total(of_job):
        asked["scontrol show step"] = of_step
    tasks = local_tasks(environ)
    found = []
    for name, answer in asked.items():
        nbytes = node_memory(answer, environ.get("SLURMD_NODENAME"))
        if nbytes is not None:
            says = shared(f"{nbytes // MIB} MB", tasks)
            found.append(Statement(name, says, nbytes=nbytes // tasks, kind="scheduler"))
    return found


def node_memory(answer: str, node: str | None) -> int | None:
    """Find the bytes on one node in the answer to ``scontrol -d show job`` or ``scontrol show step``.

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
    total, nodes = _total(answer), _nodes(answer)
    return None if total is None or nodes is None else total // max(1, nodes) or None


def _total(answer: str) -> int | None:
    """Bytes that a job or a step has on all its nodes together."""
    found = _TOTAL.search(answer)
    return None if found is None else parse_bytes(found[1], unit=MIB)


def _nodes(answer: str) -> int | None:
    """Number of its nodes."""
    found = _NODES.search(answer)
    return None if found is None else int(found[1])


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
