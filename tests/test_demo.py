"""`streamsample demo`: the whole job on the shipped data."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest
from typer.testing import CliRunner, Result

from streamsample.cli import app
from streamsample.cli.fit import fit_with_bar
from streamsample.posterior import Posterior

FILES = {"posterior.h5", "counts.h5", "ppc.png", "made-by-streamsample-demo.txt"}


def demo(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def first(folder: Path) -> Result:
    return demo("--out", folder, "--samples", 16)


def test_it_leaves_posterior_counts_and_picture(first: Result, folder: Path) -> None:
    assert first.exit_code == 0, first.output
    assert {path.name for path in folder.iterdir()} == FILES
    assert Posterior.open(folder / "posterior.h5").shape == (16, 2386, 299)
    with h5py.File(folder / "counts.h5") as file:
        assert file["counts"].shape == (16, 2386, 299)
        assert file.attrs["complete"]


def test_it_says_first_where_it_writes_and_how_much(first: Result, folder: Path) -> None:
    line = first.stdout.splitlines()[0]
    assert line.startswith(f"Writes into {folder}: up to 41.8 MiB (11.4 M counts)")


def test_it_shows_each_step_in_order(first: Result) -> None:
    steps = [
        "--- fit",
        "--- budget",
        "--- plan",
        "predicted peak",
        "--- sample",
        "--- verify",
        ": right. ",
        "--- picture",
    ]
    places = [first.stdout.index(step) for step in steps]
    assert places == sorted(places)


def test_it_ends_with_the_commands_for_ones_own_counts(first: Result) -> None:
    commands = first.stdout.splitlines()[-6:]
    assert [line.split()[:2] for line in commands] == [
        ["streamsample", name] for name in ("info", "fit", "plan", "sample", "verify", "ppc")
    ]


def test_it_can_be_run_again(first: Result, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first.exit_code == 0
    module = sys.modules["streamsample.cli.demo"]  # the package's attribute of that name is the command
    short = functools.partial(fit_with_bar, niters=10, tolerance=0)
    monkeypatch.setattr(module, "fit_with_bar", short)
    before = (folder / "counts.h5").read_bytes()
    again = demo("--out", folder, "--samples", 8, "-q")
    assert (again.exit_code, again.output) == (0, "")
    after = (folder / "counts.h5").read_bytes()
    assert len(after) < len(before)


def test_files_of_someone_else_are_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "counts.h5"
    mine.write_text("mine")
    result = demo("--out", tmp_path, "--samples", 8)
    assert result.exit_code == 1
    assert "holds a counts.h5 that no demo has made" in result.stderr
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [mine]


def test_a_disk_without_room_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    result = demo("--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "needs 1.3 GiB but 953.7 MiB are free" in result.stderr
    assert "--samples 100" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    result = demo("--out", tmp_path / "out", "--samples", 8)
    assert result.exit_code == 1
    assert "is a file" in result.stderr
