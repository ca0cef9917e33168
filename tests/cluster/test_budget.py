"""What ``streamsample budget`` states inside real SLURM jobs, against what their controller enforces."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamsample.units import MIB
from tests.cluster.slurm import NODE_MEMORY_MB, Cluster, Job

STALE = {"SLURM_MEM_PER_NODE": "12345"}
BUDGET = f"{shlex.quote(sys.executable)} -m streamsample budget --json"
OF_STEP = "scontrol show step $SLURM_JOB_ID.$SLURM_STEP_ID"


@dataclass(frozen=True)
class Case:
    """One way to get memory, and what comes of it."""

    name: str
    limit_mb: int
    """What the controller enforces on the node, divided by the tasks that share it."""
    options: tuple[str, ...]
    """Of ``sbatch``; of ``srun`` for a job without a script."""
    command: str | None = BUDGET
    """The script; None: ``srun`` outside a job."""
    variables: dict[str, str] = field(default_factory=dict)
    """Inherited from the shell that submits."""
    source: str | None = None
    """Who states the limit; None: not the same one on each node."""
    answers: int = 1


CASES = [
    Case("--mem", 700, ("--mem=700",), source="SLURM_MEM_PER_NODE"),
    Case("--mem-per-cpu", 600, ("--mem-per-cpu=300", "-c", "2"), source="SLURM_MEM_PER_CPU"),
    Case("--mem=0", NODE_MEMORY_MB, ("--mem=0",), source="scontrol show job"),
    Case("none", NODE_MEMORY_MB, (), source="scontrol show job"),
    Case("none, two CPUs", NODE_MEMORY_MB, ("-c", "2"), source="scontrol show job"),
    Case(
        "srun within",
        300,
        ("--mem=900",),
        f"srun --mem=300 sh -c {shlex.quote(f'{BUDGET}; {OF_STEP}')}",
        source="scontrol show step",
    ),
    Case("srun outside", 500, ("--mem=500",), None, source="scontrol show job"),
    Case("two tasks", 400, ("--mem=800", "-n", "2", "-N", "1"), f"srun {BUDGET}", answers=2),
    Case("two nodes", 450, ("--mem=450", "-n", "2", "-N", "2"), f"srun {BUDGET}", answers=2),
    Case("uneven nodes", 200, ("--mem-per-cpu=200", "-n", "3", "-N", "2"), None, answers=3),
    Case(
        "stale variable above",
        200,
        ("--mem-per-cpu=200",),
        variables=STALE,
        source="SLURM_MEM_PER_CPU",
    ),
    Case("stale, none", NODE_MEMORY_MB, (), variables=STALE, source="scontrol show job"),
    Case("stale, --mem=0", NODE_MEMORY_MB, ("--mem=0",), variables=STALE, source="scontrol show job"),
]


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> dict[str, Job]:
    """Every case as a job; the batch jobs wait for each other's CPUs on their own."""
    submitted = {
        case.name: cluster.submit(case.command, *named(case), variables=case.variables)
        for case in CASES
        if case.command is not None
    }
    done = {name: cluster.wait(number) for name, number in submitted.items()}
    for case in CASES:
        if case.command is None:
            ran = cluster.client(["srun", *named(case), *shlex.split(BUDGET)], case.variables)
            done[case.name] = Job("COMPLETED" if ran.returncode == 0 else "FAILED", ran.stderr, ran.stdout)
    return done


def named(case: Case) -> list[str]:
    """Options of a case, with a name by which the controller finds its job."""
    return [f"--job-name=case{CASES.index(case)}", *case.options]


def answers(job: Job) -> tuple[list[dict[str, Any]], str]:
    """Every budget that a job has printed, one after the other, and what follows them."""
    decoder, text, found = json.JSONDecoder(), job.output.strip(), []
    while text.startswith("{"):
        item, end = decoder.raw_decode(text)
        found.append(item)
        text = text[end:].strip()
    return found, text


def allocated_mb(cluster: Cluster, case: Case, of_step: str) -> int:
    """What the controller says that a case's step has, where it has one with memory of its own; else its job."""
    told = of_step or next(
        line
        for line in cluster.client(["scontrol", "--oneliner", "show", "jobs"]).stdout.splitlines()
        if f" JobName=case{CASES.index(case)} " in line
    )
    found = re.search(r" (?:Alloc)?TRES=\S*\bmem=(\d+)M", told)
    assert found is not None, told
    return int(found[1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_budget_is_what_the_controller_enforces(case: Case, jobs: dict[str, Job], cluster: Cluster) -> None:
    job = jobs[case.name]
    assert job.state == "COMPLETED", job
    budgets, of_step = answers(job)
    assert len(budgets) == case.answers
    assert allocated_mb(cluster, case, of_step) == case.limit_mb * case.answers
    for budget in budgets:
        told = f"{budget['nbytes'] / MIB:.0f} MiB by {budget['tightest']}"
        assert 0.9 * case.limit_mb * MIB <= budget["nbytes"] <= case.limit_mb * MIB, told
        assert budget["dedicated"]
        assert case.source in (None, budget["tightest"])


def test_stale_variable_below_lowers_the_budget(cluster: Cluster) -> None:
    job = cluster.wait(cluster.submit(BUDGET, "--mem-per-cpu=500", variables={"SLURM_MEM_PER_NODE": "123"}))
    ((budget,), _) = answers(job)
    assert (budget["nbytes"], budget["tightest"]) == (123 * MIB, "SLURM_MEM_PER_NODE")
