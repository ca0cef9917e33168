from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamsample.budget import host, process_nbytes, rlimits, schedulers
from streamsample.units import GIB, MIB
from tests.budget.trees import host as make_host
from tests.budget.trees import write

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max file size             unlimited            unlimited            bytes
Max data size             {data}            unlimited            bytes
Max resident set          {rss}            unlimited            bytes
Max address space         {space}           unlimited            bytes"""


def test_physical_memory_by_meminfo(tmp_path: Path) -> None:
    root = make_host(tmp_path, total_kib=2**24, available_kib=2**23)
    assert host.physical(root) == host.Physical("/proc/meminfo", 16 * GIB, 8 * GIB)


def test_an_old_kernel_states_only_what_is_free(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 300 kB\nActive(anon): 5 kB"})
    assert host.physical(tmp_path) == host.Physical("/proc/meminfo", 1000 * 1024, 300 * 1024)


def test_psutil_and_meminfo_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    with_psutil = host.physical(Path("/"))
    monkeypatch.setitem(sys.modules, "psutil", None)
    without = host.physical(Path("/"))
    assert with_psutil is not None
    assert without is not None
    assert with_psutil.name == "psutil"
    assert without.name in ("/proc/meminfo", "sysconf")
    assert without.total == with_psutil.total


def test_what_is_available_comes_on_top_of_what_is_held() -> None:
    memory = host.Physical("psutil", 16 * GIB, 8 * GIB)
    total, available = host.memory_statements(memory, own_nbytes=GIB)
    assert (total.nbytes, available.nbytes) == (16 * GIB, 9 * GIB)
    assert available.says == "8.0 GiB available"
    assert [s.nbytes for s in host.memory_statements(memory, GIB, tasks=4)] == [4 * GIB, 3 * GIB]
    assert host.memory_statements(None, GIB) == []


def test_the_process_holds_anonymous_and_shared_memory(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/self/status": "VmRSS:\t900 kB\nRssAnon:\t70 kB\nRssFile:\t800 kB\nRssShmem:\t30 kB"})
    assert process_nbytes(tmp_path) == 100 * 1024


def test_an_old_kernel_states_only_what_is_resident(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/self/status": "VmRSS:\t900 kB"})
    assert process_nbytes(tmp_path) == 900 * 1024


def test_what_this_process_holds_grows_with_what_it_takes() -> None:
    before = process_nbytes()
    held = b"\1" * (64 * MIB)
    assert 60 * MIB < process_nbytes() - before < 80 * MIB
    del held


@pytest.mark.parametrize(("text", "cpus"), [("0-3", 4), ("0", 1), ("0-1,8,10-12", 6)])
def test_affinity(tmp_path: Path, text: str, cpus: int) -> None:
    (statement,) = host.cpu_statements(make_host(tmp_path, 1, 1, cpus=text))
    assert statement.cpus == cpus


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_affinity_of_this_process() -> None:
    (statement,) = host.cpu_statements(Path("/"))
    assert statement.cpus == len(os.sched_getaffinity(0))


def test_resource_limits_less_the_space_that_holds_no_data(tmp_path: Path) -> None:
    root = make_host(tmp_path, 1, 1, own_kib=2048)
    write(root, {"/proc/self/limits": LIMITS.format(data=GIB, rss=3 * MIB, space=2 * GIB)})
    found = {s.name: s.nbytes for s in rlimits.statements(root, own_nbytes=2 * MIB)}
    assert found == {"RLIMIT_AS": 2 * GIB - 4 * MIB, "RLIMIT_DATA": GIB - MIB}
    assert {s.name: s.nbytes for s in rlimits.statements(root, 2 * MIB, resident=True)}["RLIMIT_RSS"] == 3 * MIB


def test_no_resource_limit(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/self/limits": LIMITS.format(data="unlimited", rss="unlimited", space="unlimited")})
    assert rlimits.statements(tmp_path, 0, resident=True) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux enforces a limit of the address space")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_real_resource_limit(name: str) -> None:
    code = (
        "import json, resource; from streamsample.budget import Budget\n"
        f"resource.setrlimit(resource.{name}, ({2 * GIB}, {2 * GIB}))\n"
        "print(json.dumps(Budget.detect(environ={}).to_json()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    budget = json.loads(done.stdout)
    assert budget["tightest"] == name
    assert GIB < budget["nbytes"] < 2 * GIB
    assert next(s["says"] for s in budget["sources"] if s["name"] == name) == str(2 * GIB)


@pytest.mark.parametrize(
    ("environ", "cpus"),
    [
        ({"NCPUS": "4"}, [4]),
        ({"NSLOTS": "8"}, [8]),
        ({"LSB_DJOB_NUMPROC": "6", "LSB_MCPU_HOSTS": "node1.site.org 4 node2 2"}, [6, 4]),
        ({"LSB_MCPU_HOSTS": "other 4"}, []),
        ({"NCPUS": "many"}, []),
        ({}, []),
    ],
)
def test_cpus_of_other_schedulers(environ: dict[str, str], cpus: list[int]) -> None:
    assert [s.cpus for s in schedulers.statements(environ, hostname="node1")] == cpus


@pytest.mark.parametrize(
    ("environ", "nbytes"),
    [
        ({"LSB_CG_MEMLIMIT": "0x40000000"}, [GIB]),
        ({"LSB_CG_MEMLIMIT": "80000000"}, [2 * GIB]),
        ({"LSB_MEMLIMIT": "1048576"}, [GIB]),
        ({"LSB_MEMLIMIT": "512", "LSF_UNIT_FOR_LIMITS": "MB"}, [512 * MIB]),
        ({"LSB_MEMLIMIT": "512", "LSF_UNIT_FOR_LIMITS": "parsecs"}, [512 * 1024]),
        ({"LSB_CG_MEMLIMIT": "40000000", "LSB_MEMLIMIT": "1024"}, [GIB, MIB]),
        ({"LSB_CG_MEMLIMIT": "lots", "LSB_MEMLIMIT": "0"}, []),
    ],
)
def test_memory_that_lsf_states(environ: dict[str, str], nbytes: list[int]) -> None:
    assert [s.nbytes for s in schedulers.statements(environ) if s.kind == "scheduler"] == nbytes
