"""What is found on disk of compiled kernels, without starting Numba."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamsample import compiled
from streamsample.kernels import jit
from streamsample.stream import CountStream
from tests.fake_stream import fake_posterior


def test_stamp_is_the_one_that_kernels_are_kept_under() -> None:
    assert compiled.sources_digest() == jit.sources_digest()


def test_kernel_that_has_run_is_found_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    CountStream(fake_posterior((1, 8, 5))).load(0, 1).fill(0, 1, 0, 8, np.empty((1, 8, 5), dtype=np.uint16))
    assert compiled.on_disk("uint16")
    assert not compiled.on_disk("uint64")
    monkeypatch.setattr(compiled, "sources_digest", lambda: "0" * 64)
    assert not compiled.on_disk("uint16")


def test_nothing_is_found_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert not compiled.on_disk("uint16", {"NUMBA_CACHE_DIR": str(tmp_path)})
    assert not compiled.on_disk("uint16", {"NUMBA_CACHE_DIR": str(tmp_path / "absent")})


def test_looking_does_not_import_numba() -> None:
    code = "import sys; from streamsample import compiled; compiled.on_disk('uint16'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
