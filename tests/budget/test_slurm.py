from __future__ import annotations

import pytest

from streamsample.budget import scontrol, slurm
from streamsample.units import GIB, MIB


def memory_of(**environ: str) -> dict[str, int | None]:
    return {s.name: s.nbytes for s in slurm.statements(environ) if s.name in slurm.MEMORY_VARIABLES}


def cpus_of(**environ: str) -> dict[str, int | None]:
    return {s.name: s.cpus for s in slurm.statements(environ) if s.cpus is not None}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1", [1]), ("1(x2)", [1, 1]), ("2,1", [2, 1]), ("72(x2),36", [72, 72, 36]), ("4,2(x3),1", [4, 2, 2, 2, 1])],
)
def test_per_node_lists(text: str, numbers: list[int]) -> None:
    assert slurm.expand_per_node(text) == numbers


@pytest.mark.parametrize("text", ["", "72(x2", "a", "1,,2", "-1"])
def test_anything_else_is_no_per_node_list(text: str) -> None:
    with pytest.raises(ValueError, match="per-node list"):
        slurm.expand_per_node(text)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SLURM_NODEID": "0"}, 72),
        ({"SLURM_NODEID": "2"}, 36),
        ({}, 36),  # which node this is, is not known: the smallest
        ({"SLURM_NODEID": "7"}, 36),
    ],
)
def test_this_nodes_item(environ: dict[str, str], expected: int) -> None:
    assert slurm.on_this_node("72(x2),36", environ) == expected


@pytest.mark.parametrize(
    ("text", "nbytes"), [("2048", 2 * GIB), ("2G", 2 * GIB), ("512K", 512 * 1024), ("1T", 1024 * GIB), ("1", MIB)]
)
def test_memory_per_node_is_in_mib(text: str, nbytes: int) -> None:
    assert memory_of(SLURM_MEM_PER_NODE=text) == {"SLURM_MEM_PER_NODE": nbytes}


def test_zero_is_the_whole_node_and_no_limit() -> None:
    (statement,) = slurm.statements({"SLURM_MEM_PER_NODE": "0"})
    assert statement.nbytes is None
    assert "whole node" in statement.says


def test_memory_per_cpu_times_the_cpus_on_this_node() -> None:
    (memory, cpus) = slurm.statements({"SLURM_MEM_PER_CPU": "15900", "SLURM_CPUS_ON_NODE": "32"})
    assert memory.nbytes == 32 * 15900 * MIB
    assert memory.says == "32 CPUs x 15900 MB"
    assert cpus.cpus == 32


@pytest.mark.parametrize(
    ("environ", "cpus"),
    [
        ({"SLURM_CPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_CPUS_PER_NODE": "4"}, 1),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_CPUS_PER_NODE": "4"}, 2),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36", "SLURM_NODEID": "1"}, 72),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36", "SLURM_NODEID": "2"}, 36),
        ({}, 1),  # nothing says how many: one at least
    ],
)
def test_cpus_that_memory_is_counted_by(environ: dict[str, str], cpus: int) -> None:
    assert memory_of(SLURM_MEM_PER_CPU="300", **environ) == {"SLURM_MEM_PER_CPU": cpus * 300 * MIB}


def test_memory_per_gpu() -> None:
    assert memory_of(SLURM_MEM_PER_GPU="700", SLURM_GPUS_ON_NODE="2") == {"SLURM_MEM_PER_GPU": 1400 * MIB}


def test_a_stale_variable_stands_beside_the_jobs_own() -> None:
    found = memory_of(SLURM_MEM_PER_NODE="12345", SLURM_MEM_PER_CPU="100", SLURM_CPUS_ON_NODE="1")
    assert found == {"SLURM_MEM_PER_NODE": 12345 * MIB, "SLURM_MEM_PER_CPU": 100 * MIB}


def test_tasks_of_a_step_share_memory_and_cpus() -> None:
    step = {"SLURM_STEP_TASKS_PER_NODE": "4,2", "SLURM_NODEID": "1", "SLURM_CPUS_ON_NODE": "8"}
    assert memory_of(SLURM_MEM_PER_NODE="1024", **step) == {"SLURM_MEM_PER_NODE": 512 * MIB}
    assert cpus_of(**step) == {"SLURM_CPUS_ON_NODE": 4}
    assert [s.says for s in slurm.statements({"SLURM_MEM_PER_NODE": "9", **step})] == ["9 MB / 2 tasks", "8 / 2 tasks"]


def test_tasks_of_the_job_are_not_tasks_of_a_batch_script() -> None:
    assert memory_of(SLURM_MEM_PER_NODE="1024", SLURM_TASKS_PER_NODE="2") == {"SLURM_MEM_PER_NODE": 1024 * MIB}


def test_cpus_per_task_is_one_tasks_share_already() -> None:
    step = {"SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_CPUS_PER_TASK": "2"}
    assert cpus_of(**step) == {"SLURM_CPUS_PER_TASK": 2}
    assert memory_of(SLURM_MEM_PER_CPU="100", **step) == {"SLURM_MEM_PER_CPU": 200 * MIB}


@pytest.mark.parametrize("name", [*slurm.MEMORY_VARIABLES, "SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"])
def test_what_cant_be_read_is_ignored(name: str) -> None:
    assert slurm.statements({name: "lots"}) == []


ANSWER = """JobId=46 JobName=wrap
   NumNodes=3 NumCPUs=3 NumTasks=3 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   ReqTRES=cpu=1,mem=1G,node=1,billing=1
   TRES=cpu=3,mem=2600M,node=3,billing=3
   JOB_GRES=(null)
     Nodes=n1 CPU_IDs=0 Mem=2000 GRES=
     Nodes=n[2-3,07] CPU_IDs=0 Mem=300 GRES=
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
"""


@pytest.mark.parametrize(("node", "mib"), [("n1", 2000), ("n2", 300), ("n07", 300), ("elsewhere", 300), (None, 300)])
def test_the_controllers_memory_of_a_node(node: str | None, mib: int) -> None:
    assert scontrol.node_memory(ANSWER, node) == mib * MIB


def test_the_jobs_total_where_the_nodes_say_nothing() -> None:
    answer = "NumNodes=2 NumCPUs=2\n ReqTRES=cpu=1,mem=1G\n TRES=cpu=2,mem=16000M,node=2\n Nodes=n1 CPU_IDs=0 Mem=0"
    assert scontrol.node_memory(answer, "n1") == 8000 * MIB
    assert scontrol.node_memory(answer.replace(" TRES", " AllocTRES"), "n1") == 8000 * MIB


@pytest.mark.parametrize("answer", ["", "slurm_load_jobs error: Invalid job id specified", "NumNodes=1 TRES=cpu=1"])
def test_no_answer_is_no_statement(answer: str) -> None:
    assert scontrol.node_memory(answer, "n1") is None
    assert scontrol.statements({"SLURM_JOB_ID": "1"}, lambda _: answer) == []


def test_the_controller_is_asked_in_every_job_as_a_variable_may_be_inherited() -> None:
    asked: list[list[str]] = []

    def run(argv: object) -> str:
        asked.append(list(argv))  # type: ignore[call-overload]
        return ANSWER

    assert scontrol.statements({}, run) == []
    assert scontrol.statements({"SLURM_MEM_PER_NODE": "5"}, run) == []
    assert asked == []
    job = {"SLURM_JOB_ID": "46", "SLURMD_NODENAME": "n1"}
    for environ in (job, {**job, "SLURM_MEM_PER_NODE": "12345"}):
        (statement,) = scontrol.statements({**environ, "SLURM_STEP_TASKS_PER_NODE": "2"}, run)
        assert (statement.nbytes, statement.kind) == (1000 * MIB, "scheduler")
    assert asked == 2 * [["scontrol", "-d", "show", "job", "46"]]


def test_the_controller_is_asked_for_a_step_as_the_variables_are_the_jobs() -> None:
    answer = "StepId=46.0 UserId=0\n   State=RUNNING Partition=main\n   Nodes=1 CPUs=2\n   TRES=cpu=2,mem=300M,node=1\n"
    step = {"SLURM_JOB_ID": "46", "SLURM_STEP_ID": "0", "SLURM_MEM_PER_NODE": "1000", "SLURMD_NODENAME": "n1"}
    asked: list[list[str]] = []

    def run(argv: object) -> str:
        asked.append(list(argv))  # type: ignore[call-overload]
        return answer if "step" in asked[-1] else ANSWER

    assert [(statement.name, statement.nbytes) for statement in scontrol.statements(step, run)] == [
        ("scontrol show job", 2000 * MIB),
        ("scontrol show step", 300 * MIB),
    ]
    assert asked == [["scontrol", "show", "step", "46.0"], ["scontrol", "-d", "show", "job", "46"]]
    (statement,) = scontrol.statements({**step, "SLURM_STEP_ID": "batch"}, run)
    assert statement.name == "scontrol show job"


@pytest.mark.parametrize(("total", "mib"), [(2600, {2000}), (900, {2000, 300})])
def test_step_on_several_nodes_has_its_jobs_share_of_each_unless_it_has_less(total: int, mib: set[int]) -> None:
    answers = {"job": ANSWER, "step": f"StepId=46.0\n   Nodes=3 CPUs=3\n   TRES=cpu=3,mem={total}M,node=3\n"}
    environ = {"SLURM_JOB_ID": "46", "SLURM_STEP_ID": "0", "SLURMD_NODENAME": "n1"}
    found = scontrol.statements(environ, lambda argv: answers[argv[-2]])
    assert {statement.nbytes for statement in found} == {number * MIB for number in mib}


def test_a_missing_or_failing_client_answers_nothing() -> None:
    assert scontrol.call(["no-such-client-of-slurm"]) == ""
    assert scontrol.call(["false"]) == ""
    assert scontrol.call(["echo", "yes"]) == "yes\n"


def test_lists_of_hosts() -> None:
    assert scontrol.expand_hosts("n[08-10,3],login,gpu1") == ["n08", "n09", "n10", "n3", "login", "gpu1"]
