"""The batch script of docs/slurm.md, stopped in a real job and queued again by itself, finishes the file."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.cluster.slurm import ROOT, Cluster
from tests.outputs import read
from tests.posteriors import arrays

NSAMPLES = 300

# The command line itself; in a job's first life each slab waits a little, so that there is something to stop.
COMMAND = f"""#!{sys.executable}
import os, time
from streamsample.cli import main
from streamsample.stores.writing import Writing

if "SLURM_RESTART_COUNT" not in os.environ:
    write = Writing.write
    Writing.write = lambda *arguments: time.sleep(0.2) or write(*arguments)
main()
"""


def script() -> str:
    """The script, as it is printed, but for small jobs."""
    (text,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", (ROOT / "docs" / "slurm.md").read_text(), re.DOTALL)
    return str(text).replace("--resume", "--resume --minibatch-size 1 -v")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A posterior, the script, and the command."""
    Posterior.from_arrays(**arrays((NSAMPLES, 12, 10))).save(tmp_path / "posterior.h5")
    (tmp_path / "job.sh").write_text(script())
    (tmp_path / "streamsample").write_text(COMMAND)
    (tmp_path / "streamsample").chmod(0o755)
    return tmp_path


def submit(cluster: Cluster, folder: Path, *options: str) -> str:
    variables = {"PATH": f"{folder}:{cluster.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    small = ["--cpus-per-task=1", "--mem=800", f"--chdir={folder}", f"--output={folder}/out"]
    done = cluster.client(["sbatch", "--parsable", *small, *options, str(folder / "job.sh")], variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check_finished(cluster: Cluster, folder: Path, job: str, told: str) -> None:
    """The job was requeued once or more, and the file is whole."""
    ended = cluster.wait(job, timeout=180)
    output = (folder / "out").read_text()
    assert ended.state == "COMPLETED", output
    assert f"stopped by {told}; " in output
    assert "continuing: " in output
    assert re.search(r"Restarts=[1-9]", cluster.show(job))
    expected = CountStream(Posterior.open(folder / "posterior.h5"))[:, :, :]
    np.testing.assert_array_equal(read(folder / "counts.h5"), expected)
    assert not list(folder.glob("counts.h5.*"))


def test_scancel_with_a_signal(cluster: Cluster, folder: Path) -> None:
    job = submit(cluster, folder)
    journal, deadline = folder / "counts.h5.partial.journal", time.monotonic() + 90
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < deadline, (folder / "out").read_text()
        time.sleep(0.1)
    assert cluster.client(["scancel", "--signal=TERM", "--batch", job]).returncode == 0
    check_finished(cluster, folder, job, "SIGTERM")


def test_the_signal_before_the_time_is_over(cluster: Cluster, folder: Path) -> None:
    job = submit(cluster, folder, "--time=1", "--signal=B:USR1@40")
    check_finished(cluster, folder, job, "SIGUSR1")
