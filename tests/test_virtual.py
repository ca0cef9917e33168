"""A virtual dataset of a shape that no memory holds: it opens fast, and a slice takes little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsample as ss
from tests.user_run import make_posterior

SHAPE = 1000, 200_000, 4000  # 800 G counts; of one sample alone 3.2 GB, and draws of 96 MB once they are all read
MIB = 2**20
SECONDS, NBYTES = 10, 140 * MIB
"""Allowed; opening took 0.2 to 0.5 s, and that with reading a slice 88 to 97 MiB, of names for the most part."""

# What is imported is measured beforehand: it is not the dataset's doing.
PROGRAM = """
import json, sys, time
import numpy, xarray, h5py, streamsample as ss
import streamsample.interop.engine, streamsample.posterior_file, streamsample.virtual, streamsample.twin

def peak():
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) * 1024

before, start = peak(), time.perf_counter()
{open}
opened = time.perf_counter() - start
{read}
found = numpy.asarray(part).tolist()
print(json.dumps([opened, peak() - before, found]))
"""

WAYS = {
    "streamsample": (
        "counts = ss.open(sys.argv[1])",
        "part = counts[[3, 999], 150_000:150_010, ::400]",
    ),
    "xarray": (
        'counts = xarray.open_dataset(sys.argv[1], engine="streamsample", chunks=None)["counts"]',
        "part = counts[[3, 999], 150_000:150_010, ::400]",
    ),
    "tree": (
        "counts = ss.open(sys.argv[1]).to_datatree(chains=4)['posterior_predictive/counts']",
        "part = counts[[0, 3], [3, 249], 150_000:150_010, ::400].values[[0, 1], [0, 1]]",
    ),
}


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("virtual") / "counts.virtual.h5"
    ss.save_virtual(ss.CountStream(make_posterior(SHAPE, 1, 0.5, named=True), seed=7), path)
    assert path.stat().st_size < 64 * MIB
    return path


def fresh(path: Path, opening: str, reading: str) -> tuple[float, int, Any]:
    """Seconds to open, bytes that this and reading took, and what was read, in a process of its own."""
    program = PROGRAM.format(open=opening, read=reading)
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, nbytes, part = json.loads(done.stdout.splitlines()[-1])
    return seconds, nbytes, part


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc, which is not here")
@pytest.mark.parametrize("way", WAYS)
def test_a_slice_of_800_g_counts_takes_little(way: str, virtual: Path) -> None:
    pytest.importorskip("streamsample._twin", reason="without the part in C reading starts Numba, which takes more")
    seconds, nbytes, part = fresh(virtual, *WAYS[way])
    assert seconds < SECONDS
    assert nbytes < NBYTES
    np.testing.assert_array_equal(part, ss.open(virtual)[[3, 999], 150_000:150_010, ::400])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc, which is not here")
def test_the_bound_would_see_all_draws_be_read(virtual: Path) -> None:
    opening, _ = WAYS["streamsample"]
    reading = "part = counts.posterior.read(numpy.arange(1000)).mu[:1, :1]"
    assert fresh(virtual, opening, reading)[1] > NBYTES
