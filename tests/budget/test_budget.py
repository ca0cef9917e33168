from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamsample.budget import Budget, Statement
from streamsample.budget.slurm import MEMORY_VARIABLES
from streamsample.errors import BudgetError
from streamsample.units import GIB, MIB
from tests.budget.trees import host, v2, write

JOB = {"SLURM_JOB_ID": "1"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """64 GiB, of which 32 are available; 16 CPUs; the process holds 1 GiB."""
    return v2(host(tmp_path, 64 * 2**20, 32 * 2**20, cpus="0-15", own_kib=2**20), "/job")


def test_the_minimum_over_every_statement(root: Path) -> None:
    write(root, {"/sys/fs/cgroup/job/memory.max": 20 * GIB, "/sys/fs/cgroup/job/cpu.max": "400000 100000"})
    budget = Budget.detect({"SLURM_MEM_PER_NODE": "24G", "SLURM_CPUS_ON_NODE": "8"}, root)
    assert (budget.nbytes, budget.cpus) == (20 * GIB, 4)
    assert budget.tightest == "cgroup v2 /job/memory.max"
    found = {s.name: s.nbytes for s in budget.sources if s.nbytes is not None}
    assert found == {
        "SLURM_MEM_PER_NODE": 24 * GIB,
        "cgroup v2 /job/memory.max": 20 * GIB,
        "physical memory": 64 * GIB,
        "/proc/meminfo": 33 * GIB,
    }


def test_a_shared_node_gives_what_is_available_and_plans_with_less(root: Path) -> None:
    budget = Budget.detect({}, root)
    assert (budget.nbytes, budget.tightest, budget.dedicated) == (33 * GIB, "/proc/meminfo", False)
    assert budget.safety_factor() == 0.35
    assert budget.allowed() == int(0.35 * 33 * GIB)


@pytest.mark.parametrize(
    ("environ", "files", "dedicated"),
    [
        ({"SLURM_MEM_PER_NODE": "2048", **JOB}, {}, True),
        ({"SLURM_MEM_PER_NODE": "0", **JOB}, {}, True),  # the whole node
        ({"SLURM_MEM_PER_NODE": "2048"}, {}, False),  # left from a job, or exported for one to come
        ({"SLURM_MEM_PER_NODE": "0"}, {}, False),
        ({"LSB_MEMLIMIT": "2097152", "LSB_JOBID": "1"}, {}, True),
        ({"LSB_MEMLIMIT": "2097152"}, {}, False),
        ({}, {"memory.max": 8 * GIB}, True),
        ({"STREAMSAMPLE_MEMORY": "4G"}, {}, True),
        ({}, {"memory.max": 65 * GIB}, False),  # more than the machine has sets nothing aside
        ({"SLURM_MEM_PER_NODE": "100G", **JOB}, {}, False),  # of another node, then
        ({"NSLOTS": "4"}, {}, False),  # CPUs are not memory
        (JOB, {}, False),  # a job whose memory nobody states
    ],
)
def test_what_makes_an_allocation_dedicated(
    root: Path, environ: dict[str, str], files: dict[str, int], dedicated: bool
) -> None:
    write(root, {f"/sys/fs/cgroup/job/{name}": text for name, text in files.items()})
    assert Budget.detect(environ, root, run=lambda _: "").dedicated is dedicated


@pytest.mark.parametrize(
    "variable",
    [
        *(f"{name}={size}" for name in MEMORY_VARIABLES for size in ("0", "2048", "30G", "60G", "100G", "lots")),
        *(f"{name}={10**9}" for name in ("LSB_CG_MEMLIMIT", "LSB_MEMLIMIT")),
        *(f"{name}=4" for name in ("SLURM_CPUS_ON_NODE", "SLURM_STEP_TASKS_PER_NODE", "NCPUS", "NSLOTS")),
    ],
)
def test_no_schedulers_variable_outside_a_job_raises_what_is_allowed(root: Path, variable: str) -> None:
    without = Budget.detect({}, root).allowed()
    assert Budget.detect(dict([variable.split("=")]), root).allowed() <= without


@pytest.mark.parametrize(("environ", "dedicated"), [({"PBS_JOBID": "1.server"}, True), ({}, False)])
def test_a_resource_limit_is_an_allocation_in_a_batch_job_only(
    root: Path, environ: dict[str, str], dedicated: bool
) -> None:
    write(root, {"/proc/self/limits": f"Max address space         {10 * GIB}         unlimited            bytes"})
    budget = Budget.detect(environ, root)
    assert (budget.tightest, budget.dedicated) == ("RLIMIT_AS", dedicated)
    assert budget.nbytes == 10 * GIB - 4 * MIB


@pytest.mark.parametrize(
    ("environ", "tightest"),
    [({"PBS_JOBID": "1"}, "RLIMIT_RSS"), ({"LSB_JOBID": "1"}, "RLIMIT_RSS"), ({}, "/proc/meminfo")],
)
def test_pbs_and_lsf_state_their_memory_by_the_resident_set(root: Path, environ: dict[str, str], tightest: str) -> None:
    write(root, {"/proc/self/limits": f"Max resident set          {6 * GIB}           unlimited            bytes"})
    assert Budget.detect(environ, root).tightest == tightest


def test_the_users_word_takes_the_place_of_all_others_and_is_marked(root: Path) -> None:
    environ = {"SLURM_MEM_PER_NODE": "2048", "STREAMSAMPLE_MEMORY": "4GB"}
    budget = Budget.detect(environ, root)
    assert (budget.nbytes, budget.tightest, budget.overridden) == (4 * 10**9, "STREAMSAMPLE_MEMORY", True)
    assert "SLURM_MEM_PER_NODE" in {s.name for s in budget.sources}
    assert budget.allowed() == int(0.7 * 4 * 10**9)
    assert budget.allowed(1.0) == 4 * 10**9
    assert Budget.detect(environ, root, memory="500G").nbytes == 500 * GIB
    assert Budget.detect(environ, root, memory=5 * GIB).tightest == "--memory"


@pytest.mark.parametrize("memory", ["lots", "0", "-3G"])
def test_a_stated_memory_that_is_none(root: Path, memory: str) -> None:
    with pytest.raises(BudgetError, match="--memory"):
        Budget.detect({}, root, memory=memory)
    with pytest.raises(BudgetError, match="STREAMSAMPLE_MEMORY"):
        Budget.detect({"STREAMSAMPLE_MEMORY": memory}, root)


def test_a_stated_memory_without_its_unit(root: Path) -> None:
    for environ, memory, name in (({}, "10", "--memory"), ({"STREAMSAMPLE_MEMORY": "10"}, None, "STREAMSAMPLE_MEMORY")):
        with pytest.raises(BudgetError, match=f"^{name} is 10, 10 bytes, .*; if the unit is missing, .* example 10G$"):
            Budget.detect(environ, root, memory=memory)


def test_where_nothing_is_stated_the_way_out_is(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="STREAMSAMPLE_MEMORY=16G"):
        Budget.detect({}, tmp_path)
    assert Budget.detect({}, tmp_path, memory="1G").nbytes == GIB


def test_a_job_that_says_nothing_of_its_memory_asks_the_controller(root: Path) -> None:
    budget = Budget.detect({"SLURM_JOB_ID": "1"}, root, run=lambda _: "Nodes=n1 CPU_IDs=0-1 Mem=3000 GRES=")
    assert (budget.nbytes, budget.tightest, budget.dedicated) == (3000 * MIB, "scontrol show job", True)


def test_numbas_threads_bound_the_cpus(root: Path) -> None:
    assert Budget.detect({"NUMBA_NUM_THREADS": "3"}, root).cpus == 3
    assert Budget.detect({"NUMBA_NUM_THREADS": "300"}, root).cpus == 16


@pytest.mark.parametrize("factor", [0.0, -0.5, 1.01, float("nan")])
def test_a_safety_factor_is_a_fraction(factor: float) -> None:
    with pytest.raises(BudgetError, match="safety factor"):
        Budget(GIB, 1).allowed(factor)


def test_a_budget_made_by_hand() -> None:
    assert Budget(10 * GIB, 4).allowed() == 7 * GIB
    assert Budget(100 * GIB, 4, dedicated=False).allowed() == 35 * GIB
    assert Budget(10 * GIB, 4).allowed(0.5) == 5 * GIB


def test_json_holds_every_source(root: Path) -> None:
    budget = Budget.detect({"SLURM_MEM_PER_NODE": "2048"}, root)
    facts = json.loads(json.dumps(budget.to_json()))
    assert (facts["nbytes"], facts["cpus"], facts["tightest"]) == (2 * GIB, 16, "SLURM_MEM_PER_NODE")
    assert tuple(Statement(**source) for source in facts["sources"]) == budget.sources


def test_without_psutil_the_answer_is_much_the_same() -> None:
    code = (
        "import sys, json; {}\nfrom streamsample.budget import Budget\n"
        "print(json.dumps(Budget.detect(environ={{}}).to_json()))"
    )
    answers = []
    for hide in ("sys.modules['psutil'] = None", ""):
        argv = [sys.executable, "-c", code.format(hide)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        answers.append(json.loads(done.stdout))
    without, with_psutil = answers
    assert without["cpus"] == with_psutil["cpus"]
    totals = [next(s["nbytes"] for s in a["sources"] if s["name"] == "physical memory") for a in answers]
    assert totals[0] == totals[1]
    assert "psutil" not in {s["name"] for s in without["sources"]}


def test_detecting_loads_nothing_heavy() -> None:
    code = (
        "import sys; from streamsample.budget import Budget; assert 'psutil' not in sys.modules\n"
        "Budget.detect(); print({'numpy', 'numba', 'torch', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
