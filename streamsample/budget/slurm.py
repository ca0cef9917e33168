"""What SLURM's environment says about memory and CPUs on this node.

The three memory variables are mutually exclusive in a request, yet an inherited one can stand beside the job's own
(``SLURM_MEM_PER_NODE=12345 sbatch --mem-per-cpu=100``: the job sees both). So each is a statement, and the smallest
holds: a stale one can only lower the budget. No variable is not "no limit": see `streamsample.budget.scontrol`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from streamsample.budget.statement import Statement, parse_count, shared
from streamsample.units import MIB, parse_bytes

logger = logging.getLogger(__name__)

MEMORY_VARIABLES = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU")

_RUN = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def in_job(environ: Mapping[str, str]) -> bool:
    """Tell whether this process is part of a SLURM job: a variable for memory alone does not say so."""
    return bool(environ.get("SLURM_JOB_ID"))


def expand_per_node(text: str) -> list[int]:
    """Read SLURM's per-node lists: ``72(x2),36`` is ``[72, 72, 36]``.

    Raises
    ------
    ValueError
        If the text does not follow that grammar.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = _RUN.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a per-node list such as 72(x2),36")
        numbers += [int(match[1])] * int(match[2] or 1)
    return numbers


def on_this_node(text: str | None, environ: Mapping[str, str]) -> int | None:
    """Pick this node's item of a per-node list; the smallest where ``SLURM_NODEID`` does not tell which it is."""
    if not text:
        return None
    try:
        numbers = expand_per_node(text)
        return numbers[int(environ["SLURM_NODEID"])]
    except (KeyError, IndexError):
        return min(numbers)
    except ValueError:
        logger.warning("%r is not a per-node list as SLURM writes them; ignored", text)
        return None


def local_tasks(environ: Mapping[str, str]) -> int:
    """Tasks of this step on this node: they share its memory and its CPUs.

    Only ``srun`` sets the variable of the step. A batch script with ``--ntasks=2`` is one process all the same, so
    ``SLURM_TASKS_PER_NODE``, which is about the job, says nothing here.
    """
    return max(1, on_this_node(environ.get("SLURM_STEP_TASKS_PER_NODE"), environ) or 1)


def statements(environ: Mapping[str, str]) -> list[Statement]:
    """Collect what SLURM's variables say of this process's part of the node."""
    tasks = local_tasks(environ)
    cpus = _node_cpus(environ, tasks)
    found = [_memory(name, environ, 1 if cpus is None else cpus[1], tasks) for name in MEMORY_VARIABLES]
    if cpus is not None:
        name, number = cpus
        found.append(Statement(name, shared(str(number), tasks), cpus=max(1, number // tasks), kind="scheduler"))
    return [statement for statement in found if statement is not None]


def _node_cpus(environ: Mapping[str, str], tasks: int) -> tuple[str, int] | None:
    """Find the CPUs that the job or step has on this node, and the variable that says so."""
    on_node = parse_count(environ.get("SLURM_CPUS_ON_NODE"))
    if on_node is not None:
        return "SLURM_CPUS_ON_NODE", on_node
    per_task = parse_count(environ.get("SLURM_CPUS_PER_TASK"))
    if per_task is not None:
        return "SLURM_CPUS_PER_TASK", per_task * tasks
    of_job = on_this_node(environ.get("SLURM_JOB_CPUS_PER_NODE"), environ)
    return ("SLURM_JOB_CPUS_PER_NODE", of_job) if of_job else None


def _memory(name: str, environ: Mapping[str, str], cpus: int, tasks: int) -> Statement | None:
    """Read one memory variable: integers are MiB, although SLURM's manual calls them MB; 0 is the whole node."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        nbytes = parse_bytes(text, unit=MIB)
    except ValueError:
        logger.warning("%s=%r is not a size; ignored", name, text)
        return None
    if nbytes == 0:
        return Statement(name, f"{text} (the whole node)", kind="scheduler")
    says = f"{text} MB" if text.isdigit() else text
    if name == "SLURM_MEM_PER_CPU":
        nbytes, says = nbytes * cpus, f"{cpus} CPUs x {says}"
    elif name == "SLURM_MEM_PER_GPU":
        gpus = parse_count(environ.get("SLURM_GPUS_ON_NODE")) or 1
        nbytes, says = nbytes * gpus, f"{gpus} GPUs x {says}"
    return Statement(name, shared(says, tasks), nbytes=nbytes // tasks, kind="scheduler")
