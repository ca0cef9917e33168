"""Runs in real memory groups: output of four gigabytes where half of one, one or two may be held."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.stores import describe
from streamsample.units import MIB
from tests.cgroup import MemoryGroup, available, memory_group
from tests.formats import FORMATS

ROOT = Path(__file__).parents[1]
MB = 1000**2
FOUR_GIGABYTES = {"shape": (16, 8_000, 8_000), "dtype": "uint32"}
TWO_GIGABYTES = {**FOUR_GIGABYTES, "shape": (8, 8_000, 8_000)}

WITHOUT_GROUPS = available()
pytestmark = pytest.mark.skipif(WITHOUT_GROUPS is not None, reason=WITHOUT_GROUPS or "")


@contextmanager
def program(group: MemoryGroup, path: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run `tests.user_run` in a group, which prints its plan first."""
    argv = [sys.executable, "-m", "tests.user_run", str(path), json.dumps(options)]
    errors = path.with_suffix(".log")
    with errors.open("w") as log, group.popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        yield process
        process.wait(timeout=120)
    assert process.returncode == 0, errors.read_text()


FAST = [found for found in FORMATS if found[1] != "gzip"]  # which takes 11 s for so many; tests.forecast has a case


def first_line(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied after the test: pytest would keep these gigabytes."""
    yield tmp_path
    for file in tmp_path.rglob("counts*"):
        if file.is_file():
            file.unlink()


@pytest.mark.parametrize("limit_mb", [500, 700, 1000, 2000])
@pytest.mark.parametrize(("suffix", "compression"), FAST)
def test_four_gigabytes_are_written_and_usage_stays_below_the_forecast(
    suffix: str, compression: str, limit_mb: int, output: Path
) -> None:
    path = output / f"counts{suffix}"
    with (
        memory_group(limit_mb * MB) as group,
        program(group, path, compression=compression, **FOUR_GIGABYTES) as process,
    ):
        forecast = json.loads(first_line(process))
        peak = group.peak_until_end(process)
    assert " (cgroup v" in forecast["reasons"]["allowed"]
    assert 0.69 * limit_mb * MB < forecast["allowed_nbytes"] <= 0.7 * limit_mb * MB
    told = f"{peak / MIB:.0f} MiB used, {forecast['peak_nbytes'] / MIB:.0f} MiB forecast"
    assert 0 < peak <= forecast["peak_nbytes"] <= forecast["allowed_nbytes"], told
    assert path.with_suffix(".log").read_text() == "", "nothing was short"
    facts = describe(path)
    assert facts.complete
    assert facts.shape == FOUR_GIGABYTES["shape"]


def test_run_shrinks_and_finishes_when_its_limit_is_lowered_to_60_percent(output: Path) -> None:
    calm, pressed, limit = output / "counts.npy", output / "counts_pressed.npy", 800 * MB
    with memory_group(limit) as group, program(group, calm, **TWO_GIGABYTES) as process:
        group.peak_until_end(process)
    with memory_group(limit) as group, program(group, pressed, **TWO_GIGABYTES) as process:
        forecast = json.loads(first_line(process))
        assert forecast["peak_nbytes"] > 0.7 * 0.6 * limit, "it has to have something to give back"
        first_line(process)  # a slab is done
        group.limit(int(0.6 * limit))
        while "memory is short" not in (said := pressed.with_suffix(".log").read_text()):
            assert first_line(process), "it has ended without a word"
        for _ in range(3):  # two slabs were in flight, the next one is smaller
            first_line(process)
        peak = group.peak_until_end(process)
    assert " allowed (cgroup v" in said
    assert peak <= 0.7 * 0.6 * limit, f"{peak / MIB:.0f} MiB"
    assert np.load(pressed, mmap_mode="r").shape == TWO_GIGABYTES["shape"]
    assert filecmp.cmp(calm, pressed, shallow=False)
