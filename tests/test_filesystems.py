"""What is written counts as memory of the job in so far as its file system keeps it there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamsample.budget import Budget
from streamsample.chunking import Storage
from streamsample.errors import BudgetError
from streamsample.filesystems import medium_of
from streamsample.memory_model import DIRTY_WINDOW_NBYTES, ParameterFacts
from streamsample.planner import decide
from streamsample.pressure import Reading, allowed_now
from streamsample.sizing import Plan
from streamsample.target import TargetFacts
from streamsample.units import GIB
from tests.cgroup import available, memory_group
from tests.forecast import Case, measure
from tests.plan_invariants import check_plan

ROOT = Path(__file__).parents[1]
WITHOUT_GROUPS = available()
FACTS = ParameterFacts(10, 5_000, 20_000, 1)  # 1.9 GiB
SHARED_MEMORY = Path("/dev/shm")


def made(filesystem: str, suffix: str = ".npy", nbytes: int = 8 * GIB, storage: Storage | None = None) -> Plan:
    return decide(FACTS, Budget(nbytes, 2), TargetFacts(f"counts{suffix}", suffix, filesystem), storage=storage)


def held(plan: Plan) -> dict[str, int]:
    return {quantity.name: quantity.nbytes for quantity in plan.quantities}


@pytest.mark.parametrize(
    ("filesystem", "medium", "windows"),
    [
        ("ext4", "direct", 1),
        ("xfs", "direct", 1),
        ("btrfs", "page cache", 2),
        ("unknown", "page cache", 2),
        ("nfs4", "network", 3),
        ("fuse.sshfs", "network", 3),
        ("tmpfs", "memory", 0),
    ],
)
def test_dirty_pages_by_kind_of_file_system(filesystem: str, medium: str, windows: int) -> None:
    plan = made(filesystem)
    check_plan(plan)
    assert medium_of(filesystem) == medium
    assert held(plan)["dirty pages"] == windows * DIRTY_WINDOW_NBYTES
    assert ("output" in held(plan)) == (medium == "memory")


def test_an_output_in_memory_is_memory_of_the_job() -> None:
    raw, zstd = made("tmpfs"), made("tmpfs", ".h5", storage=Storage("zstd"))
    assert held(raw)["output"] == raw.output_nbytes
    assert zstd.counts.encoded_nbytes * zstd.ncounts < held(zstd)["output"] < 0.2 * zstd.output_nbytes
    assert held(raw)["allocator"] == held(made("ext4"))["allocator"], "malloc has nothing to do with it"
    message = r"1\.9 GiB the output, as its file system is memory\) but .*; write to a disk, or give --memory"
    with pytest.raises(BudgetError, match=message):
        made("tmpfs", nbytes=2 * GIB)
    assert made("ext4", nbytes=2 * GIB)


def test_what_the_output_takes_of_a_group_is_no_fall_of_its_limit() -> None:
    plan, first = made("tmpfs"), Reading(0, 8 * GIB, "a group")
    filled = replace(first, limit_nbytes=first.limit_nbytes - plan.output_nbytes)
    assert allowed_now(plan, first, filled) == plan.allowed_nbytes
    assert allowed_now(made("ext4"), first, filled) < plan.allowed_nbytes


def test_page_tables_are_no_larger_than_forecast(tmp_path: Path) -> None:
    """In a fresh process, as this one has mapped much else."""
    code = (
        "import sys, json\nfrom tests.user_run import main\nfrom streamsample.budget.host import status_bytes\n"
        "from pathlib import Path\n"
        "main(sys.argv[1], shape=(6, 8000, 2000), threads=2)\nprint(status_bytes(Path('/'))['VmPTE'])"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "counts.npy")]
    lines = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    forecast = json.loads(lines[0])["memory"]["page tables"]
    assert 0.3 * forecast < int(lines[-1]) <= forecast


@pytest.fixture
def shared_memory() -> Iterator[Path]:
    """A folder of a file system in memory, removed afterwards."""
    if WITHOUT_GROUPS is not None or TargetFacts.gather(SHARED_MEMORY / "counts.npy").medium != "memory":
        pytest.skip(WITHOUT_GROUPS or f"{SHARED_MEMORY} is not in memory here")
    with tempfile.TemporaryDirectory(prefix="streamsample-", dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def test_an_output_in_memory_that_its_group_has_no_room_for_is_refused_before_the_start(shared_memory: Path) -> None:
    options = {"shape": (6, 8_000, 8_000), "dtype": "uint32"}  # 1.5 GB
    argv = [sys.executable, "-m", "tests.user_run", str(shared_memory / "counts.npy"), json.dumps(options)]
    with memory_group(600 * 1000**2) as group:
        done = group.run(argv, cwd=ROOT, timeout=120)
    assert done.returncode == 1, "it was not killed"
    assert "BudgetError: one slab needs at least 1." in done.stderr
    assert "its file system is memory" in done.stderr
    assert not list(shared_memory.iterdir())


@pytest.mark.parametrize(("suffix", "compression"), [(".npy", "none"), (".zarr", "zstd")])
def test_forecast_holds_for_an_output_in_memory(suffix: str, compression: str, shared_memory: Path) -> None:
    case = Case((6, 8_000, 8_000), suffix, options={"dtype": "uint8", "compression": compression, "memory": 2 * GIB})
    measured = measure(case, shared_memory)
    assert 0.6 <= measured.share <= 1.0, measured.row()
