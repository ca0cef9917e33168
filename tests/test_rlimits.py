"""Real resource limits: what is too small is told before the start; what is large enough is enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from streamsample.units import GIB, MIB
from tests.formats import FORMATS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux enforces these limits")

# 40 samples x 5,000 cells x 4,000 features as uint32 are 3.0 GiB.
OUTPUT_NBYTES = 4 * 40 * 5000 * 4000
POSTERIOR = """
rng = np.random.default_rng(0)
mu, phi = rng.gamma(1.0, 0.02, (40, 4000)), rng.gamma(4.0, 1.0, (40, 4000)) + 0.5
posterior = ss.Posterior.from_arrays(mu, phi, n_cells=5000)
stream = ss.CountStream(posterior, seed=0)
"""
WRITE = f"""
import resource, sys
import numpy as np
import streamsample as ss
from streamsample.errors import StreamsampleError

limit, path, nbytes = sys.argv[1:4]
resource.setrlimit(getattr(resource, limit), (int(nbytes), int(nbytes)))
{POSTERIOR}
try:
    plan = ss.plan(stream, path, dtype="uint32", threads=1, safety_factor=0.9)
    ss.sample(stream, path, plan=plan)
except StreamsampleError as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
print(plan.reasons["allowed"])
"""
# Under the same limit, slice by slice; a map of the whole file would not fit.
READ = f"""
import resource, sys
import h5py
import numpy as np
import streamsample as ss
{POSTERIOR}
nbytes = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (nbytes, nbytes))
try:
    np.memmap(sys.argv[1], mode="r")
except OSError as error:
    print("a map:", error.strerror)
with h5py.File(sys.argv[1]) as file:
    counts = file["counts"]
    S = len(counts)
    for s in range(S):
        slice_ = counts[s, 1000:1008]
        assert np.array_equal(slice_, stream[s, 1000:1008]), s
print("read", S)
"""


def run(code: str, *argv: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("nbytes", [300 * MIB, 500 * MIB, 700 * MIB])
def test_too_little_address_space_is_told_before_the_start(nbytes: int, tmp_path: Path) -> None:
    path = tmp_path / "counts.h5"
    found = run(WRITE, "RLIMIT_AS", path, nbytes)
    assert found.returncode == 1
    assert found.stderr.startswith("BudgetError: "), found.stderr
    assert "RLIMIT_AS" in found.stderr
    assert found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_larger_than_the_address_space_is_written_and_read(tmp_path: Path) -> None:
    path, limit = tmp_path / "counts.h5", 2 * GIB
    written = run(WRITE, "RLIMIT_AS", path, limit)
    assert written.returncode == 0, written.stderr
    assert "RLIMIT_AS" in written.stdout
    assert written.stderr == "", "nothing was short"
    assert path.stat().st_size > OUTPUT_NBYTES > limit
    read = run(READ, path, limit)
    assert read.returncode == 0, read.stderr
    assert read.stdout.splitlines() == ["a map: Cannot allocate memory", "read 40"]
    with h5py.File(path) as file:
        assert 0.005 < np.mean(file["counts"][7, ::50]) < 0.1
    path.unlink()  # the folders of the latest runs are kept


# How far address space and data have grown in the end, and how far that was foreseen.
GROWTH = """
import sys
from pathlib import Path
import numpy as np
import streamsample as ss
from streamsample.budget import Budget, rlimits
from streamsample.budget.host import status_bytes

path, compression, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
mu, phi = rng.gamma(1.0, 0.02, (4, 4000)), rng.gamma(4.0, 1.0, (4, 4000)) + 0.5
stream = ss.CountStream(ss.Posterior.from_arrays(mu, phi, n_cells=10000), seed=0)
before, to_come = status_bytes(Path("/")), rlimits.space_to_come(threads)
plan = ss.plan(stream, path, budget=Budget(2**31, threads), dtype="uint32", compression=compression)
data = plan.peak_nbytes - plan.quantities[0].nbytes
ss.sample(stream, path, plan=plan)
after = status_bytes(Path("/"))
print(after["VmPeak"] - before["VmSize"], to_come["RLIMIT_AS"] + data)
print(after["VmData"] - before["VmData"], to_come["RLIMIT_DATA"] + data)
"""


@pytest.mark.parametrize(("suffix", "compression"), FORMATS)
def test_space_that_a_run_takes_is_foreseen(suffix: str, compression: str, tmp_path: Path) -> None:
    done = run(GROWTH, tmp_path / f"counts{suffix}", compression, 2)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        grown, foreseen = (int(word) for word in line.split())
        assert 0 < grown <= foreseen, line


FINE_SHARDS = """
import resource, sys
import numpy as np
import streamsample as ss

rng = np.random.default_rng(0)
mu, phi = rng.gamma(1.0, 0.76, (4, 4000)), rng.gamma(4.0, 1.0, (4, 4000)) + 0.5
stream = ss.CountStream(ss.Posterior.from_arrays(mu, phi, n_cells=5000), seed=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
plan = ss.plan(stream, sys.argv[1], dtype="uint32")
ss.sample(stream, sys.argv[1], plan=plan)
print(plan.nfiles)
"""


def test_shards_are_cut_so_that_a_file_limit_is_met(tmp_path: Path) -> None:
    path = tmp_path / "counts.zarr"
    done = run(FINE_SHARDS, path, 8 * MIB)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    assert sum(sizes) > 8 * MIB > max(sizes)


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("nbytes", [MIB, OUTPUT_NBYTES - 1])
def test_too_small_a_file_limit_is_told_before_the_start(suffix: str, nbytes: int, tmp_path: Path) -> None:
    found = run(WRITE, "RLIMIT_FSIZE", tmp_path / f"counts{suffix}", nbytes)
    assert found.returncode == 1
    assert found.stderr.startswith("StoreError: ")
    assert "files are limited to" in found.stderr
    assert "RLIMIT_FSIZE" in found.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_a_file_limit_that_only_the_header_exceeds_is_met_before_any_count(suffix: str, tmp_path: Path) -> None:
    found = run(WRITE, "RLIMIT_FSIZE", tmp_path / f"counts{suffix}", OUTPUT_NBYTES)
    assert found.returncode == 1
    assert found.stderr.endswith("can't be written: File too large\n")
    assert not list(tmp_path.iterdir())
