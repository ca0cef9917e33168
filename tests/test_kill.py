"""Kill -9 at random moments: whatever is left is continued to the same file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outputs import ENDS

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("STREAMSAMPLE_KILLS", "6"))
"""Of each format; 30 together. More of them by hand: ``STREAMSAMPLE_KILLS=100``."""


@pytest.mark.parametrize("end", ENDS)
def test_killed_runs_are_continued_to_the_same_file(end: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.killing", str(tmp_path), end, str(KILLS), str(ENDS.index(end))]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= KILLS
