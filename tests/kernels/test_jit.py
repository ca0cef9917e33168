"""Compiled code on disk: found again, never used for another version of any kernel's source, not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import streamsample

PACKAGE = Path(streamsample.__file__).parent
COUNT = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from streamsample.kernels.negbin import quantile
print(quantile(0.5, 2.0, 0.9)[0], quantile.stats.cache_hits.get(quantile.signatures[0], 0))
"""


def counted(root: Path, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=root, env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return run.stdout + run.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package, whose sources may be changed."""
    shutil.copytree(PACKAGE, tmp_path / "streamsample", ignore=shutil.ignore_patterns("__pycache__", "data"))
    return tmp_path


def test_compiled_code_is_found_again_until_any_kernel_changes(copied: Path, tmp_path: Path) -> None:
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert counted(copied, **cache) == "2 0\n"
    assert counted(copied, **cache) == "2 1\n"
    called = (
        copied / "streamsample" / "kernels" / "elementary.py"
    )  # quantile calls into it; its own file stays as it is
    called.write_text(called.read_text() + "\n# another version\n")
    assert counted(copied, **cache) == "2 0\n"
    assert counted(copied, **cache) == "2 1\n"
