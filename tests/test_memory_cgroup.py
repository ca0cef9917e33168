"""A run that writes six times what it may hold, inside a real memory group, stays below its forecast."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamsample.stores import describe
from streamsample.units import MIB
from tests.cgroup import MemoryGroup, available, memory_group

LIMIT_NBYTES = 700 * 1000**2
OUTPUT_NBYTES = 2 * 32 * 8_000 * 8_000

# Detects its budget like any user's program, and tells its forecast before it starts.
SCRIPT = """
import json, sys
import numpy as np
import streamsample as ss

S, N, T = 32, 8_000, 8_000
rng = np.random.default_rng(0)
posterior = ss.Posterior.from_arrays(
    rng.gamma(1.0, 0.75, (S, T)).astype(np.float32), rng.gamma(4.0, 1.0, (S, T)).astype(np.float32) + 0.5,
    size_factor=rng.lognormal(0.0, 0.3, N),
)
stream = ss.CountStream(posterior, seed=0)
plan = ss.plan(stream, sys.argv[1], dtype="uint16")
print(json.dumps(plan.to_json()), flush=True)
ss.sample(stream, sys.argv[1], plan=plan)
"""

WITHOUT_GROUPS = available()
pytestmark = pytest.mark.skipif(WITHOUT_GROUPS is not None, reason=WITHOUT_GROUPS or "")


def watch(group: MemoryGroup, process: subprocess.Popen[str]) -> list[int]:
    """Usage of the group every 20 ms until the process ends."""
    seen = []
    while process.poll() is None:
        seen.append(group.usage())
        time.sleep(0.02)
    return seen


def test_usage_stays_below_the_forecast_and_above_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    with memory_group(LIMIT_NBYTES) as group:
        argv = [sys.executable, "-c", SCRIPT, str(path)]
        process = group.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = watch(group, process)
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    forecast = json.loads(output)
    assert forecast["reasons"]["allowed"].startswith("667.6 MiB (cgroup")
    assert forecast["peak_nbytes"] <= forecast["allowed_nbytes"] <= LIMIT_NBYTES * 0.7
    assert len(seen) > 20
    peak, told = max(seen), f"{max(seen) / MIB:.0f} MiB used, {forecast['peak_nbytes'] / MIB:.0f} MiB forecast"
    assert peak <= forecast["peak_nbytes"], told
    assert peak >= forecast["peak_nbytes"] / 2, told

    assert describe(path).complete
    counts = np.load(path, mmap_mode="r")
    assert counts.nbytes == OUTPUT_NBYTES > 4e9
    assert 0.6 < counts[16, ::100].mean() < 1.0
