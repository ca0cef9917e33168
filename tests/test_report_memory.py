from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from streamsample.budget import Budget, Statement
from streamsample.estimate import predictive_estimate
from streamsample.report.memory import announce, budget_lines, memory_lines, predictive_lines
from streamsample.units import GIB, MIB

SIZES = (21_761, 28_868, 2, 1000)
SLURM = Statement("SLURM_MEM_PER_CPU", "32 CPUs x 15900 MB", 32 * 15900 * MIB, kind="scheduler")
HOST = Statement("psutil", "1802.2 GiB available", int(1802.2 * GIB))
NODE = Budget(32 * 15900 * MIB, 32, sources=(SLURM, HOST), tightest="SLURM_MEM_PER_CPU")

WORKED_EXAMPLE = """\
[MEMORY] SLURM allocation: 32 CPUs x 15900 MB = 496.9 GiB
[MEMORY] Using SLURM allocation limit: 496.9 GiB
[MEMORY] (psutil reports 1802.2 GiB available, but that may be the full node)
[MEMORY] Safety factor: 70% (dedicated SLURM allocation)
[MEMORY] Input data: 2.34 GiB
[MEMORY] Params per sample: 0.00 GiB
[MEMORY] Output per sample [N, T]: 2.34 GiB
[MEMORY] Estimated with parallel=True (32 workers): 75.1 GiB
[MEMORY] Parallel execution fits within safe limit
[MEMORY] Safe memory limit: 347.8 GiB
[MEMORY] Available for output tensors: 345.5 GiB
[MEMORY] Max samples that fit: 147
[MEMORY] Auto-setting minibatch_size=100 (capped at 100)
[MEMORY] This will require 10 batches
[MEMORY] Estimated memory per batch: 236.4 GiB
[INFO] Running Predictive in minibatches of 100 (parallel=True)...
"""


def lines_of(budget: Budget, **options: float) -> list[str]:
    return memory_lines(predictive_estimate(*SIZES, budget=budget, **options), budget)  # type: ignore[arg-type]


def test_the_worked_example_to_the_letter() -> None:
    assert "\n".join(lines_of(NODE)) + "\n" == WORKED_EXAMPLE
    assert "\n".join(predictive_lines(*SIZES, NODE)) + "\n" == WORKED_EXAMPLE


def test_the_prefixes_and_their_order_are_the_same_on_a_shared_node() -> None:
    shared = Budget(int(1802.2 * GIB), 32, dedicated=False, sources=(HOST,), tightest="psutil")
    assert lines_of(shared)[:2] == [
        "[MEMORY] Using available memory: 1802.2 GiB (psutil)",
        "[MEMORY] Safety factor: 35% (shared node)",
    ]
    prefixes = [line.partition(":")[0] for line in WORKED_EXAMPLE.splitlines()[3:12]]
    assert [line.partition(":")[0] for line in lines_of(shared)[1:10]] == prefixes


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        (Budget(300 * GIB, 2), "[MEMORY] Using budget limit: 300.0 GiB"),
        (
            replace(NODE, tightest="--memory", overridden=True),
            "[MEMORY] Using --memory limit: 496.9 GiB; takes the place of all limits found",
        ),
        (
            Budget(200 * GIB, 2, tightest="cgroup v2 /job/memory.max"),
            "[MEMORY] Using cgroup v2 /job/memory.max limit: 200.0 GiB",
        ),
    ],
)
def test_the_limit_that_decides_is_named(budget: Budget, line: str) -> None:
    assert lines_of(budget)[0] == line


@pytest.mark.parametrize(
    ("budget", "options", "reason"),
    [
        (NODE, {"safety_factor": 0.5}, "50% (given)"),
        (replace(NODE, tightest="STREAMSAMPLE_MEMORY", overridden=True), {}, "70% (memory stated by STREAMSAMPLE_M"),
        (replace(NODE, dedicated=False), {}, "35% (shared node)"),
        (replace(NODE, sources=()), {}, "70% (dedicated allocation)"),
        (replace(NODE, sources=(Statement("cgroup v1 /", "1", 1, kind="cgroup"),)), {}, "70% (dedicated cgroup allo"),
    ],
)
def test_the_safety_factor_has_a_reason(budget: Budget, options: dict[str, float], reason: str) -> None:
    (line,) = (line for line in lines_of(budget, **options) if "Safety factor" in line)
    assert line.startswith(f"[MEMORY] Safety factor: {reason}")


def test_the_control_group_of_a_slurm_job_is_the_slurm_allocation() -> None:
    group = Statement("cgroup v1 /slurm/uid_0/job_7/step_0/memory.limit_in_bytes", "1", 490 * GIB, kind="cgroup")
    budget = replace(NODE, nbytes=490 * GIB, sources=(SLURM, group, HOST), tightest=group.name)
    assert lines_of(budget)[:3] == [
        "[MEMORY] SLURM allocation: 32 CPUs x 15900 MB = 496.9 GiB",
        f"[MEMORY] Using SLURM allocation limit: 490.0 GiB ({group.name})",
        "[MEMORY] (psutil reports 1802.2 GiB available, but that may be the full node)",
    ]
    (safety,) = (line for line in lines_of(budget) if "Safety factor" in line)
    assert safety.endswith("(dedicated SLURM allocation)")


def test_an_allocation_is_told_in_the_words_of_the_variable_where_the_controller_agrees() -> None:
    asked = Statement("scontrol show job", "508800 MB", SLURM.nbytes, kind="scheduler")
    more = replace(SLURM, says="64 CPUs x 7950 MB")  # later in the alphabet
    budget = replace(NODE, sources=(more, asked, HOST))
    assert lines_of(budget)[0] == "[MEMORY] SLURM allocation: 64 CPUs x 7950 MB = 496.9 GiB"


def test_parallel_that_does_not_fit() -> None:
    lines = lines_of(Budget(75 * GIB, 32), safety_factor=1)
    assert "[MEMORY] Parallel execution would need 75.1 GiB; using parallel=False" in lines
    assert not any("fits within safe limit" in line for line in lines)
    assert lines[-4:] == [
        "[MEMORY] Auto-setting minibatch_size=31",
        "[MEMORY] This will require 33 batches",
        "[MEMORY] Estimated memory per batch: 74.9 GiB",
        "[INFO] Running Predictive in minibatches of 31 (parallel=False)...",
    ]


def test_all_samples_in_one_batch() -> None:
    lines = memory_lines(predictive_estimate(2386, 299, 3, 1000, budget=NODE))
    assert lines[-3:] == [
        "[MEMORY] All 1000 samples fit in one batch",
        "[MEMORY] Estimated memory per batch: 2.7 GiB",
        "[INFO] Running Predictive with all 1000 samples (parallel=True)...",
    ]


def test_a_users_minibatch_comes_alone() -> None:
    assert lines_of(NODE, minibatch_size=10) == ["[MEMORY] Using user-specified minibatch_size=10"]


def test_the_hint_at_psutil_comes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert predictive_lines(*SIZES) == [
        "[INFO] psutil not available - using conservative defaults (minibatch_size=50, parallel=False); "
        "pip install psutil"
    ]


def test_a_sample_that_does_not_fit_is_told_and_not_fatal() -> None:
    (line,) = predictive_lines(*SIZES, Budget(4 * GIB, 2))
    assert line.startswith("[MEMORY] an in-memory Predictive needs 4.68 GiB for a single sample but 2.80 GiB are")


def test_the_budgets_lines_hold_every_source() -> None:
    lines = budget_lines(replace(NODE, sources=(*NODE.sources, Statement("affinity", "0-31", cpus=32))))
    assert lines[0].endswith("496.9 GiB  (32 CPUs x 15900 MB)  <- decides about memory")
    assert lines[1].endswith("1.8 TiB  (1802.2 GiB available)")
    assert lines[2].endswith("32 CPUs  (0-31)")
    assert lines[3:] == [
        "memory: 496.9 GiB, by SLURM_MEM_PER_CPU",
        "to plan with: 347.8 GiB, safety factor 0.7 (dedicated)",
        "CPUs: 32",
    ]


SET_UPS = {
    "none": "",
    "null handler": "log = logging.getLogger('streamsample'); log.addHandler(logging.NullHandler()); log.setLevel(10)",
    "the root's default level": "logging.basicConfig(format='LOG %(message)s')",
    "info": "logging.basicConfig(level='INFO', format='LOG %(message)s')",
    "silenced": "logging.getLogger('streamsample').setLevel('WARNING')",
    "disabled": "logging.disable(logging.INFO)",
}


@pytest.mark.parametrize(
    ("set_up", "expected"),
    [
        ("none", "[MEMORY] seen\n"),
        ("null handler", "[MEMORY] seen\n"),
        ("the root's default level", "[MEMORY] seen\n"),
        ("info", "LOG [MEMORY] seen\n"),
        ("silenced", ""),
        ("disabled", ""),
    ],
)
def test_lines_appear_once_whatever_the_logging_set_up(set_up: str, expected: str) -> None:
    code = f"import logging\n{SET_UPS[set_up]}\nfrom streamsample.report.memory import announce\n"
    code += "announce(['[MEMORY] seen'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stderr, done.stdout) == (expected, "")


def test_a_handler_gets_records_of_the_package(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="streamsample"):
        announce(["[MEMORY] a 100% line", "[INFO] b"])
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("streamsample", "INFO", "[MEMORY] a 100% line"),
        ("streamsample", "INFO", "[INFO] b"),
    ]
    assert capsys.readouterr().err == ""
