"""What ``streamsample budget`` states inside real SLURM jobs, against what their controller enforces."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamsample.units import MIB
from tests.cluster.slurm import NODE_MEMORY_MB, Cluster, Job

BUDGET = f"{shlex.quote(sys.executable)} -m streamsample budget --json"


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
    Case("srun within", 300, ("--mem=900",), f"srun --mem=300 {BUDGET}", source="scontrol show step"),
    Case("srun outside", 500, ("--mem=500",), None, source="scontrol show job"),
    Case("two tasks", 400, ("--mem=800", "-n", "2", "-N", "1"), f"srun {BUDGET}", answers=2),
    Case("two nodes", 450, ("--mem=450", "-n", "2", "-N", "2"), f"srun {BUDGET}", answers=2),
    Case("uneven nodes", 200, ("--mem-per-cpu=200", "-n", "3", "-N", "2"), None, answers=3),
    Case(
        "stale variable above",
        200,
        ("--mem-per-cpu=200",),
        variables={"SLURM_MEM_PER_NODE": "12345"},
        source="SLURM_MEM_PER_CPU",
    ),
]


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> dict[str, Job]:
    """Every case as a job; the batch jobs wait for each other's CPUs on their own."""
    submitted = {
        case.name: cluster.submit(case.command, *case.options, variables=case.variables)
        for case in CASES
        if case.command is not None
    }
    done = {name: cluster.wait(number) for name, number in submitted.items()}
    for case in CASES:
        if case.command is None:
            argv = ["srun", *case.options, *shlex.split(BUDGET)]
            ran = cluster.client(argv, case.variables)
            done[case.name] = Job("COMPLETED" if ran.returncode == 0 else "FAILED", ran.stderr, ran.stdout)
    return done


def answers(job: Job) -> list[dict[str, Any]]:
    """Every budget that a job has printed, one after the other."""
    decoder, text, found = json.JSONDecoder(), job.output.strip(), []
    while text:
        item, end = decoder.raw_decode(text)
        found.append(item)
        text = text[end:].strip()
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_budget_is_what_the_controller_enforces(case: Case, jobs: dict[str, Job]) -> None:
    job = jobs[case.name]
    assert job.state == "COMPLETED", job
    budgets = answers(job)
    assert len(budgets) == case.answers
    for budget in budgets:
        told = f"{budget['nbytes'] / MIB:.0f} MiB by {budget['tightest']}"
        assert 0.9 * case.limit_mb * MIB <= budget["nbytes"] <= case.limit_mb * MIB, told
        assert budget["dedicated"]
        assert case.source in (None, budget["tightest"])


def test_stale_variable_below_lowers_the_budget(cluster: Cluster) -> None:
    job = cluster.wait(cluster.submit(BUDGET, "--mem-per-cpu=500", variables={"SLURM_MEM_PER_NODE": "123"}))
    (budget,) = answers(job)
    assert (budget["nbytes"], budget["tightest"]) == (123 * MIB, "SLURM_MEM_PER_NODE")


def test_controller_confirms_the_limits_that_the_cases_assume(cluster: Cluster) -> None:
    job = cluster.submit("true", "--mem=0")
    cluster.wait(job)
    assert f"mem={NODE_MEMORY_MB}M" in cluster.show(job)
