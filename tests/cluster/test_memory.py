"""A run under a controller that kills: it writes five times its memory and lives; holding all of it, it dies."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from streamsample.stores import describe
from tests.cluster.slurm import Cluster, Job

LIMIT_MB = 600
THREE_GIGABYTES = {"shape": (12, 8_000, 8_000), "dtype": "uint32"}


def run(cluster: Cluster, path: Path, **options: Any) -> Job:
    """Run `tests.user_run` as a job that may hold 600 MB."""
    argv = [sys.executable, "-m", "tests.user_run", str(path), json.dumps({**THREE_GIGABYTES, **options})]
    return cluster.wait(cluster.submit(shlex.join(argv), f"--mem={LIMIT_MB}", "-c", "2"))


def test_job_writes_three_gigabytes_with_600_mb(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    job = run(cluster, path)
    assert job.state == "COMPLETED", job.output
    forecast = json.loads(job.output.splitlines()[0])
    assert "(SLURM_MEM_PER_NODE" in forecast["reasons"]["allowed"]
    assert path.stat().st_size > 3e9
    assert describe(path).complete
    path.unlink()


def test_same_job_is_killed_where_it_holds_everything(cluster: Cluster, tmp_path: Path) -> None:
    job = run(cluster, tmp_path / "counts.npy", everything=True)
    assert job.state == "FAILED"
    assert "exceeded memory limit" in job.output
    for file in tmp_path.iterdir():
        file.unlink()
