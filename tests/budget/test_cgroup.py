from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsample.budget import cgroup
from streamsample.units import MIB
from tests.budget.trees import UNLIMITED, hybrid, v2, write
from tests.cgroup import MemoryGroup, available, memory_group


def limits(root: Path, own: int = 0, tasks: int = 1) -> dict[str, int | None]:
    return {s.name.partition(" ")[2]: s.nbytes for s in cgroup.memory_statements(root, own, tasks)}


def quotas(root: Path) -> dict[str, int | None]:
    return {s.name.partition(" ")[2]: s.cpus for s in cgroup.cpu_statements(root)}


def test_v2_limits_of_all_ancestors_max_and_high(tmp_path: Path) -> None:
    job = "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
    files = {
        f"{job}/memory.max": 900 * MIB,
        f"{job}/memory.high": "max",
        f"{job}/step_0/memory.max": "max",
        f"{job}/step_0/memory.high": 500 * MIB,
        f"{job}/step_0/memory.low": 5 * MIB,  # a protection, not a limit
        f"{job}/step_0/user/task_0/memory.max": "max",
        f"{job}/step_0/user/task_0/memory.high": "max",
    }
    path = "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"
    found = limits(write(v2(tmp_path, path), files))
    assert found == {
        "v2 /system.slice/slurmstepd.scope/job_7/step_0/memory.high": 500 * MIB,
        "v2 /system.slice/slurmstepd.scope/job_7/memory.max": 900 * MIB,
    }


def test_v1_limits_of_all_ancestors_on_a_hybrid_host(tmp_path: Path) -> None:
    job = "/sys/fs/cgroup/memory/slurm/uid_0/job_5"
    files = {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
        f"{job}/memory.limit_in_bytes": 1000 * MIB,
        f"{job}/step_batch/memory.limit_in_bytes": 300 * MIB,
        f"{job}/step_batch/task_0/memory.limit_in_bytes": UNLIMITED,
    }
    found = limits(write(hybrid(tmp_path, "/slurm/uid_0/job_5/step_batch/task_0"), files))
    assert found == {
        "v1 /slurm/uid_0/job_5/step_batch/memory.limit_in_bytes": 300 * MIB,
        "v1 /slurm/uid_0/job_5/memory.limit_in_bytes": 1000 * MIB,
    }


def test_v1_tells_of_groups_that_a_container_does_not_see(tmp_path: Path) -> None:
    stat = f"total_rss 0\nhierarchical_memory_limit {700 * MIB}"
    files = {"/sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED, "/sys/fs/cgroup/memory/memory.stat": stat}
    found = limits(write(hybrid(tmp_path, "/docker/abc", inside="/docker/abc"), files))
    assert found == {"v1 /memory.stat:hierarchical_memory_limit": 700 * MIB}


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/docker/abc", "/docker/abc"),  # the container's own group is what is mounted
        ("/../../elsewhere", "/"),  # out of the namespace
        ("/docker/abc", "/"),  # the host's path, which the container does not see
    ],
)
def test_in_a_container_the_mount_point_is_the_group(tmp_path: Path, path: str, inside: str) -> None:
    files = {"/sys/fs/cgroup/memory.max": 64 * MIB, "/sys/elsewhere/memory.max": 1}
    assert limits(write(v2(tmp_path, path, inside), files)) == {"v2 /memory.max": 64 * MIB}


def test_mount_points_with_spaces(tmp_path: Path) -> None:
    root = v2(tmp_path, "/job", point="/my\\040cgroup")
    assert limits(write(root, {"/my cgroup/job/memory.max": MIB})) == {"v2 /job/memory.max": MIB}


def test_a_bind_mount_of_a_part_does_not_hide_the_rest(tmp_path: Path) -> None:
    root = v2(tmp_path, "/a/b")
    mountinfo = tmp_path / "proc/self/mountinfo"
    part = "50 1 0:38 /a/b /part rw - cgroup2 cgroup2 rw"
    mountinfo.write_text(f"{part}\n{mountinfo.read_text()}{part}\n")
    files = {"/part/memory.max": 9 * MIB, "/sys/fs/cgroup/a/b/memory.max": 9 * MIB, "/sys/fs/cgroup/a/memory.max": MIB}
    assert limits(write(root, files)) == {"v2 /a/b/memory.max": 9 * MIB, "v2 /a/memory.max": MIB}


def test_what_others_in_the_group_hold_is_taken_off_and_cache_is_not(tmp_path: Path) -> None:
    stat = f"anon {30 * MIB}\nfile {400 * MIB}\nshmem {5 * MIB}\nfile_dirty {2 * MIB}\nfile_writeback {MIB}"
    stat += f"\npagetables {2 * MIB}\nunevictable {35 * MIB}"
    job = "/sys/fs/cgroup/job"
    files = {f"{job}/memory.max": 500 * MIB, f"{job}/memory.stat": stat, f"{job}/memory.current": 499 * MIB}
    root = write(v2(tmp_path, "/job"), files)
    assert limits(root, own=25 * MIB) == {"v2 /job/memory.max": (500 - (40 - 25)) * MIB}
    assert limits(root, own=60 * MIB) == {"v2 /job/memory.max": 500 * MIB}


def test_v1_counts_what_can_not_be_reclaimed(tmp_path: Path) -> None:
    stat = f"rss 1\ntotal_cache {90 * MIB}\ntotal_rss {20 * MIB}\ntotal_shmem {4 * MIB}\n"
    stat += f"total_dirty {2 * MIB}\ntotal_writeback {MIB}\ntotal_unevictable {24 * MIB}"
    files = {"memory.limit_in_bytes": 100 * MIB, "memory.stat": stat, "memory.max_usage_in_bytes": 100 * MIB}
    root = write(hybrid(tmp_path, "/job"), {f"/sys/fs/cgroup/memory/job/{k}": v for k, v in files.items()})
    assert limits(root, own=7 * MIB) == {"v1 /job/memory.limit_in_bytes": 80 * MIB}


def test_a_full_group_leaves_nothing_and_not_less(tmp_path: Path) -> None:
    files = {"/sys/fs/cgroup/job/memory.max": MIB, "/sys/fs/cgroup/job/memory.stat": f"anon {3 * MIB}"}
    assert limits(write(v2(tmp_path, "/job"), files)) == {"v2 /job/memory.max": 0}


def test_tasks_share_the_limits_above_their_own(tmp_path: Path) -> None:
    step = "/sys/fs/cgroup/job_1/step_0"
    files = {f"{step}/memory.max": 800 * MIB, f"{step}/task_3/memory.max": 600 * MIB}
    found = limits(write(v2(tmp_path, "/job_1/step_0/task_3"), files), tasks=4)
    assert found == {"v2 /job_1/step_0/task_3/memory.max": 600 * MIB, "v2 /job_1/step_0/memory.max": 200 * MIB}


def test_quotas_of_all_ancestors_are_rounded_up(tmp_path: Path) -> None:
    top = "/sys/fs/cgroup"
    files = {f"{top}/a/cpu.max": "150000 100000", f"{top}/a/b/cpu.max": "max 100000", f"{top}/cpu.max": "800000 100000"}
    assert quotas(write(v2(tmp_path, "/a/b"), files)) == {"v2 /a/cpu.max": 2, "v2 /cpu.max": 8}


def test_v1_quotas(tmp_path: Path) -> None:
    top = "/sys/fs/cgroup/cpu"
    files = {
        f"{top}/job/cpu.cfs_quota_us": 50000,
        f"{top}/job/cpu.cfs_period_us": 100000,
        f"{top}/cpu.cfs_quota_us": -1,
        f"{top}/cpu.cfs_period_us": 100000,
    }
    assert quotas(write(hybrid(tmp_path, "/job"), files)) == {"v1 /job/cpu.cfs_quota_us": 1}


def test_without_control_groups_there_is_no_statement(tmp_path: Path) -> None:
    assert limits(tmp_path) == {}
    assert quotas(tmp_path) == {}


IN_THE_GROUP = """
import json
from streamsample.budget import Budget
held = bytearray(40 * 2**20)
print(json.dumps(Budget.detect(environ={}).to_json()))
"""


@pytest.fixture(scope="module")
def groups_can_be_made() -> None:
    reason = available()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.usefixtures("groups_can_be_made")
def test_a_real_limit_on_the_parent_of_an_unlimited_leaf() -> None:
    with memory_group(256 * MIB) as group:
        done = group.run([sys.executable, "-c", IN_THE_GROUP], timeout=60)
        assert done.returncode == 0, done.stderr
    budget = json.loads(done.stdout)
    assert group.path.name in budget["tightest"]
    assert "/leaf/" not in budget["tightest"]
    assert budget["dedicated"] is True
    # The 40 MiB are the process's own: were they taken off, less than 220 MiB would be left.
    assert 240 * MIB < budget["nbytes"] <= 256 * MIB


@pytest.mark.usefixtures("groups_can_be_made")
def test_a_real_neighbour_in_the_group_is_taken_off() -> None:
    neighbour = "x = bytearray(100 * 2**20); print('ready', flush=True); input()"
    with memory_group(256 * MIB) as group:
        with group.popen([sys.executable, "-c", neighbour], stdin=-1, stdout=-1, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            assert group.usage() > 100 * MIB
            done = group.run([sys.executable, "-c", IN_THE_GROUP], timeout=60)
            other.communicate("\n")
        assert done.returncode == 0, done.stderr
    assert 130 * MIB < json.loads(done.stdout)["nbytes"] < 156 * MIB


def fail_with_a_process_inside(made: list[MemoryGroup], left: list[subprocess.Popen[Any]]) -> None:
    with memory_group(64 * MIB) as group:
        made.append(group)
        left.append(group.popen(["sleep", "60"]))
        while not group.procs_file.read_text():
            assert left[0].poll() is None
        raise RuntimeError("on purpose")


@pytest.mark.usefixtures("groups_can_be_made")
def test_made_groups_are_removed_even_after_an_error() -> None:
    made: list[MemoryGroup] = []
    left: list[subprocess.Popen[Any]] = []
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_with_a_process_inside(made, left)
    assert not made[0].path.exists()
    assert left[0].wait(timeout=10) == -signal.SIGKILL
