"""What the README tells a user to type works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import anndata
import numpy as np
import pytest
from typer.testing import CliRunner

from streamsample.cli import app
from streamsample.posterior import Posterior

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1, f"the README has {len(found)} blocks of {language}"
    return str(found[0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    (folder / "streamsample-demo").mkdir()
    Posterior.from_arrays(
        mu=rng.gamma(2.0, 2.0, (25, 12)),
        phi=rng.gamma(5.0, 1.0, (25, 12)),
        n_cells=300,
        feature_names=["STAT1", *(f"gene{t}" for t in range(11))],
    ).save(folder / "streamsample-demo" / "posterior.h5")
    names: dict[str, object] = {}
    for _ in range(2):  # a newcomer tries it twice
        exec(compile(block("python"), "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "STAT1: " in printed
    assert "predicted peak" in printed
    stored = np.load("counts.npy", mmap_mode="r")
    assert stored.shape == (20, 300, 12)
    np.testing.assert_array_equal(stored[3, 100:200, ::7], names["block"])
    np.testing.assert_array_equal(stored[:, :, 0], np.asarray(names["stat1"])[:20])


def test_the_python_example_has_ten_lines_and_begins_with_one_gene() -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 10
    asked = [line for line in lines if line.split(" = ")[-1].startswith(("stream.", "stream[", "ss.plan", "ss.sample"))]
    assert 'stream.sel(feature="' in asked[0]


def test_the_commands_run_one_after_another(folder: Path, ntc_h5ad: Path) -> None:
    whole = anndata.read_h5ad(ntc_h5ad)
    most = np.argsort(-np.asarray(whole.X.sum(axis=0)).ravel())[:15]
    whole[:200, most].copy().write_h5ad(folder / "yours.h5ad")
    for line in block("sh").splitlines():
        name, *arguments = shlex.split(line)
        assert name == "streamsample"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
    made = {path.name for path in folder.iterdir()}
    assert made == {"yours.h5ad", "posterior.h5", "counts.h5", "ppc.png"}


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", re.findall(r"^ {4}make (\w+)", README, re.MULTILINE))
def test_make_has_the_commands(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
