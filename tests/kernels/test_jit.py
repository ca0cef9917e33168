"""Compiled code on disk: found again, never used for another version of any kernel's source, not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import streamsample

PACKAGE = Path(streamsample.__file__).parent
COUNT = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from streamsample.kernels.negbin import quantile
print(quantile(0.5, 2.0, 0.9, 0.1)[0], quantile.stats.cache_hits.get(quantile.signatures[0], 0))
"""


def counted(root: Path, command: Sequence[str] = (sys.executable, "-c", COUNT), **environment: str) -> str:
    run = subprocess.run(
        command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)} | environment,
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


# Root may write everywhere, unless it gives up the right to pass over permissions.
BOUND = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


@pytest.fixture
def sealed(copied: Path) -> Iterator[Path]:
    """A copy of the package in which nothing can be written."""
    if BOUND and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to keep it from that")
    folders = [copied, *(path for path in copied.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield copied
    for folder in folders:
        folder.chmod(0o755)


def test_without_a_writable_folder_it_compiles_in_memory_and_says_so(sealed: Path) -> None:
    nowhere = {"HOME": str(sealed), "XDG_CACHE_HOME": str(sealed / "cache"), "NUMBA_CACHE_DIR": str(sealed / "numba")}
    code = COUNT.replace("\nfrom", "\nimport streamsample.kernels.slab\nfrom", 1)
    found = counted(sealed, [*BOUND, sys.executable, "-c", code], **nowhere).splitlines()
    assert found == [
        "2 0", "no writable folder for compiled code: compiling in memory; NUMBA_CACHE_DIR can name one"
    ]  # fmt: skip
    assert not list(sealed.rglob("*.nb?"))
