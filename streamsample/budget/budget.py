"""Bytes and CPUs that this process may use, with every limit found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsample.budget import cgroup, host, rlimits, schedulers, scontrol, slurm
from streamsample.budget.statement import Statement, parse_count
from streamsample.errors import BudgetError
from streamsample.units import MIB, parse_bytes

DEDICATED_SAFETY, SHARED_SAFETY = 0.7, 0.35  # docs/memory.md says why


@dataclass(frozen=True)
class Budget:
    """What this process may use; `detect` finds it, or make one by hand: ``Budget(nbytes=2**36, cpus=8)``."""

    nbytes: int
    """Bytes that this process may come to hold, what it holds already included."""
    cpus: int
    """CPUs that it may keep busy."""
    dedicated: bool = True
    """Whether the memory is this job's own; on a shared node others may take what is free now."""
    sources: tuple[Statement, ...] = ()
    """Every limit found, whether it decides or not."""
    tightest: str = "given"
    """Name of the source that decides about memory."""
    overridden: bool = False
    """Whether the memory was stated by the user, against whatever was found."""

    @classmethod
    def detect(
        cls,
        environ: Mapping[str, str] = os.environ,
        root: str | Path = "/",
        memory: str | int | None = None,
        *,
        run: scontrol.Runner = scontrol.call,
    ) -> Budget:
        """Take the minimum over every limit that is stated anywhere.

        Parameters
        ----------
        environ
            Environment variables.
        root
            Where ``/proc`` and ``/sys`` are looked for.
        memory
            The budget as the user states it, in bytes or as ``64G``; like the variable ``STREAMSAMPLE_MEMORY``,
            which it overrides, it takes the place of all limits found.
        run
            Runs SLURM's client ``scontrol`` and returns its output; asked only if the environment names a job.

        Raises
        ------
        BudgetError
            If the stated memory is not a size, or no limit is found at all.
        """
        tree = Path(root)
        physical, tasks = host.physical(tree), slurm.local_tasks(environ)
        own = host.process_nbytes(tree)  # after physical, which may import psutil
        slurm_job, other_job = slurm.in_job(environ), schedulers.in_job(environ)
        sources = (
            *_override(memory, environ),
            *slurm.statements(environ),
            *scontrol.statements(environ, run),
            *schedulers.statements(environ),
            *cgroup.memory_statements(tree, own, tasks),
            *cgroup.cpu_statements(tree),
            *_numba_threads(environ),
            *host.memory_statements(physical, own, tasks),
            *host.cpu_statements(tree),
        )
        here = tree == Path("/")  # in a made tree there is no process that has yet to grow
        to_come = rlimits.space_to_come(_fewest_cpus(sources)) if here else {}
        sources += (*rlimits.statements(tree, own, resident=other_job, to_come=to_come),)
        return _weigh(sources, physical, slurm_job, other_job)

    @property
    def detected(self) -> bool:
        """Whether the memory is a limit that was found, not one that the user states."""
        found = {(statement.name, statement.nbytes) for statement in self.sources if statement.kind != "override"}
        return (self.tightest, self.nbytes) in found

    def safety_factor(self, given: float | None = None) -> float:
        """Fraction of the budget to plan with: as given, else 0.7 if dedicated and 0.35 if shared."""
        if given is None:
            return DEDICATED_SAFETY if self.dedicated else SHARED_SAFETY
        if not 0 < given <= 1:
            raise BudgetError(f"a safety factor of {given:g} is not a fraction; give one above 0 and up to 1")
        return float(given)

    def allowed(self, given: float | None = None) -> int:
        """Bytes to plan with: safety factor x budget."""
        return int(self.safety_factor(given) * self.nbytes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return {
            "nbytes": self.nbytes,
            "cpus": self.cpus,
            "dedicated": self.dedicated,
            "safety_factor": self.safety_factor(),
            "allowed": self.allowed(),
            "tightest": self.tightest,
            "overridden": self.overridden,
            "sources": [statement.to_json() for statement in self.sources],
        }


def _weigh(sources: tuple[Statement, ...], physical: host.Physical | None, slurm_job: bool, other_job: bool) -> Budget:
    """Choose the tightest statements, and tell whether the memory is an allocation of this job's own."""
    stated = {statement: statement.nbytes for statement in sources if statement.nbytes is not None}
    if not stated:
        raise BudgetError("no limit of memory is stated anywhere; give --memory, or set STREAMSAMPLE_MEMORY=16G")
    overridden = sources[0].kind == "override"
    tightest = sources[0] if overridden else min(stated, key=lambda statement: stated[statement])
    return Budget(
        nbytes=stated[tightest],
        cpus=_fewest_cpus(sources),
        dedicated=overridden or any(_allocates(statement, physical, slurm_job, other_job) for statement in sources),
        sources=sources,
        tightest=tightest.name,
        overridden=overridden,
    )


def _fewest_cpus(sources: tuple[Statement, ...]) -> int:
    return min((statement.cpus for statement in sources if statement.cpus is not None), default=os.cpu_count() or 1)


def _allocates(statement: Statement, physical: host.Physical | None, slurm_job: bool, other_job: bool) -> bool:
    """Tell whether a statement sets memory of this host aside: a limit above all its memory sets none."""
    of_slurm = statement.name.startswith(("SLURM_", "scontrol"))
    if statement.kind in ("scheduler", "rlimit") and not (slurm_job if of_slurm else other_job):
        return False  # a variable alone is left from somewhere else
    if of_slurm and statement.name in slurm.MEMORY_VARIABLES and statement.nbytes is None:
        return True  # the whole node
    if statement.nbytes is None or (physical is not None and statement.nbytes > physical.total):
        return False
    return statement.kind in ("scheduler", "cgroup", "rlimit")


def _override(memory: str | int | None, environ: Mapping[str, str]) -> list[Statement]:
    """Read the budget that the user states, if any."""
    variable = environ.get("STREAMSAMPLE_MEMORY", "").strip()
    name, text = ("STREAMSAMPLE_MEMORY", variable) if memory is None else ("--memory", str(memory))
    if not text:
        return []
    try:
        nbytes = parse_bytes(text)
    except ValueError as error:
        raise BudgetError(f"{name}: {error}") from None
    if nbytes < MIB:
        missing = f"; if the unit is missing, write for example {text}G" if text.isdigit() and nbytes else ""
        raise BudgetError(f"{name} is {text}, {nbytes:,} bytes, which leaves no memory{missing or '; write 16G'}")
    return [Statement(name, text, nbytes=nbytes, kind="override")]


def _numba_threads(environ: Mapping[str, str]) -> list[Statement]:
    threads = parse_count(environ.get("NUMBA_NUM_THREADS"))
    return [] if threads is None else [Statement("NUMBA_NUM_THREADS", str(threads), cpus=threads, kind="environment")]
