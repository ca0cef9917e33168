"""`import streamsample` is free and silent."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import streamsample

HEAVY = (
    "numba",
    "torch",
    "pyro",
    "h5py",
    "anndata",
    "dask",
    "pandas",
    "scipy",
    "matplotlib",
    "mpmath",
    "psutil",
    "rich",
    "xarray",
    "zarr",
)

PROBE = """
import json, sys, time
import numpy
start = time.process_time()
import streamsample
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def probe(code: str = PROBE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)


def test_import_is_silent_and_loads_nothing_heavy() -> None:
    ended = probe()
    assert ended.stderr == ""
    loaded = {module.split(".")[0] for module in json.loads(ended.stdout)["modules"]}
    assert loaded.isdisjoint(HEAVY)


def test_import_takes_under_150_ms_beyond_python_and_numpy() -> None:
    # CPU time, so that a busy machine is no finding; the best of three, because caches are cold once.
    assert min(json.loads(probe().stdout)["seconds"] for _ in range(3)) < 0.15


def test_types_of_the_public_face_load_without_torch() -> None:
    names = [name for name in streamsample.__all__ if name not in ("TechnicalModel", "draw_posterior")]
    code = f"import streamsample, sys\nfor name in {names}: getattr(streamsample, name)\nprint('torch' in sys.modules)"
    assert probe(code).stdout.strip() == "False"


@pytest.mark.parametrize("name", streamsample.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(streamsample, name)
    assert value is getattr(streamsample, name)
    assert name in dir(streamsample)


@pytest.mark.parametrize("name", ["plan", "sample", "verify", "summarise"])
def test_a_function_is_not_hidden_by_a_module_of_its_name(name: str) -> None:
    assert callable(getattr(streamsample, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'streamsample' has no attribute 'nonsense'"):
        streamsample.nonsense  # noqa: B018 (looking it up is the test)


def test_the_version_is_the_installed_one() -> None:
    assert streamsample.__version__ == version("streamsample")
