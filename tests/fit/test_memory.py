"""What a fit really holds, in fresh processes, stays within what its plan forecasts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsample.units import MIB

# Detects nothing: the budget is given. The peak is that of anonymous and shared memory, looked at every 5 ms.
FIT = """
import json, sys, threading
import numpy as np
from scipy import sparse
import streamsample as ss
from streamsample.budget import process_nbytes
from streamsample.fit import plan

ncells, nbytes = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
rows, columns = np.repeat(np.arange(ncells), 200), rng.integers(0, 4000, 200 * ncells)
values = rng.integers(1, 10**6, rows.size)  # few repeat, so that what a fit keeps grows with the cells
counts = sparse.coo_matrix((values.astype(np.int32), (rows, columns)), shape=(ncells, 4000)).tocsr()
model = ss.TechnicalModel.from_arrays(counts, np.arange(ncells) % 2, sum_factor=rng.lognormal(0, 0.3, ncells))
del rows, columns, values, counts

original, plans, seen, done = plan.decide, [], [], threading.Event()
plan.decide = lambda *arguments, **options: plans.append(original(*arguments, **options)) or plans[-1]

def watch():
    while not done.wait(0.005):
        seen.append(process_nbytes())

threading.Thread(target=watch, daemon=True).start()
posterior = model.fit_technical(
    niters=4, nsamples=40, budget=ss.Budget(nbytes, 2), safety_factor=1.0, on_extreme="clip"
)
done.set()
print(json.dumps({"cells": plans[0].cells, "forecast": plans[0].peak_nbytes, "peak": max(seen), "looks": len(seen)}))
"""

NCELLS = 12_000
DOCUMENT = Path(__file__).parents[2] / "docs" / "memory.md"


def fitted(nbytes: int) -> tuple[dict[str, Any], str]:
    argv = [sys.executable, "-c", FIT, str(NCELLS), str(nbytes)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


@pytest.mark.parametrize(("nbytes", "some"), [(4000 * MIB, False), (400 * MIB, True)])
def test_the_peak_of_a_fit_is_within_its_forecast(nbytes: int, some: bool) -> None:
    found, told = fitted(nbytes)
    assert (found["cells"] < NCELLS) is some
    assert (f"each step takes {found['cells']:,} cells" in told) is some
    assert found["looks"] > 20
    assert 0.6 * found["forecast"] <= found["peak"] <= found["forecast"] <= nbytes, found
    cells, forecast, peak = documented()[some]
    assert (cells == "all") is not some
    assert 0.9 * found["forecast"] < forecast * MIB < 1.1 * found["forecast"], "docs/memory.md"
    assert 0.85 * found["peak"] < peak * MIB < 1.15 * found["peak"], "docs/memory.md"


def documented() -> list[tuple[str, int, int]]:
    """Cells in a step, forecast and peak in MiB, of the runs that the document tells: all cells, and some."""
    _, _, table = DOCUMENT.read_text(encoding="utf-8").partition("| counts | cells in a step |")
    rows = [line.split("|")[2:5] for line in table.partition("\n\n")[0].splitlines()[2:]]
    return [(cells.strip(), int(forecast.split()[0]), int(peak.split()[0])) for cells, forecast, peak in rows]


def test_a_fit_that_can_not_fit_fails_before_its_first_step() -> None:
    argv = [sys.executable, "-c", FIT, str(NCELLS), str(300 * MIB)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("streamsample.errors.BudgetError: the fit needs at least ")
    assert "but 300.0 MiB are allowed (given, safety 1); give more memory" in last
