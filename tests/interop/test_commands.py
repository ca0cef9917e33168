"""The commands ``virtual`` and ``export``."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import streamsample as ss
from streamsample.cli import app
from streamsample.errors import PlanError
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.posteriors import named_posterior


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def posterior(small_posterior: Posterior, tmp_path: Path) -> Path:
    path = tmp_path / "posterior.h5"
    small_posterior.save(path)
    return path


def test_a_virtual_dataset_stands_for_what_sample_writes(
    posterior: Path, small_posterior: Posterior, tmp_path: Path
) -> None:
    virtual, part = tmp_path / "counts.virtual.h5", ("--seed", str(2**63), "--samples", "1:4", "--cells", "::3")
    result = run("virtual", posterior, "-o", virtual, *part)
    assert result.exit_code == 0, result.output
    assert "for 105 counts [3, 7, 5]" in result.output
    facts = json.loads(run("info", virtual, "--json").output)
    assert (facts["kind"], facts["shape"], facts["seed"]) == ("virtual", [3, 7, 5], 2**63)
    assert facts["selection"] == {"sample_index": "1:4:1", "cell_index": "0:19:3", "feature_index": "0:5:1"}
    found = ss.open(virtual)
    expected = CountStream(small_posterior, seed=2**63).select("1:4", "::3")
    assert found.shape == (3, 7, 5)
    np.testing.assert_array_equal(found[:], expected[:])
    run("sample", virtual, "-o", tmp_path / "counts.h5", *part)  # it is a posterior, too
    np.testing.assert_array_equal(ss.open(tmp_path / "counts.h5")[:], expected[:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.h5", "counts.virtual.h5", "posterior.h5"]


def test_irregular_selections_are_kept(small_posterior: Posterior, tmp_path: Path) -> None:
    stream = CountStream(small_posterior, seed=1).select(samples=[4, 0], cells=[7, 8, 2])
    ss.save_virtual(stream, tmp_path / "v.h5")
    np.testing.assert_array_equal(ss.open(tmp_path / "v.h5")[:], stream[:])


@pytest.mark.parametrize("name", ["counts.virtual.zarr", "counts.virtual", "counts.npy"])
def test_a_virtual_dataset_that_could_not_be_opened_is_not_written(name: str, tmp_path: Path) -> None:
    stream = ss.CountStream(named_posterior((2, 3, 4)))
    with pytest.raises(PlanError, match=r"a virtual dataset is HDF5: write for example counts\..*h5"):
        ss.save_virtual(stream, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_virtual_replaces_only_when_told(posterior: Path, tmp_path: Path) -> None:
    before = posterior.read_bytes()
    for other in ((), ("--overwrite",)):
        result = run("virtual", posterior, "-o", posterior, *other)
        assert result.exit_code == 1
        assert "is read by this very command" in result.stderr
    assert run("virtual", posterior, "-o", tmp_path / "v.h5").exit_code == 0
    result = run("virtual", posterior, "-o", tmp_path / "v.h5", "--seed", "3")
    assert (result.exit_code, "give --overwrite" in result.stderr) == (1, True)
    assert run("virtual", posterior, "-o", tmp_path / "v.h5", "--seed", "3", "--overwrite").exit_code == 0
    found = ss.open(tmp_path / "v.h5")
    assert isinstance(found, CountStream)
    assert found.seed == 3
    assert posterior.read_bytes() == before


def test_another_definition_of_the_stream_is_refused(
    posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("virtual", posterior, "-o", tmp_path / "v.h5")
    monkeypatch.setattr("streamsample.virtual.STREAM_VERSIONS", (98, 99))
    with pytest.raises(ss.errors.StoreError, match="counts of stream version 1; this program makes 98 to 99"):
        ss.open(tmp_path / "v.h5")


@pytest.mark.parametrize("virtual", [False, True])
def test_export_takes_files_and_virtual_datasets(
    posterior: Path, small_posterior: Posterior, tmp_path: Path, virtual: bool
) -> None:
    counts = tmp_path / "counts.h5"
    assert run("virtual" if virtual else "sample", posterior, "-o", counts).exit_code == 0
    result = run("export", counts, "--to", tmp_path / "x.h5ad", "--samples", "0:2")
    assert result.exit_code == 0, result.output
    assert "2 samples" in result.output
    found, stream = anndata.read_h5ad(tmp_path / "x.h5ad"), CountStream(small_posterior)
    assert list(found.layers) == ["ppc_0", "ppc_1"]
    np.testing.assert_array_equal(found.layers["ppc_1"].toarray(), stream[1])
    assert run("export", counts, "--to", tmp_path / "x.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), stream[:])


def test_export_refuses_in_one_line(posterior: Path, tmp_path: Path) -> None:
    run("sample", posterior, "-o", tmp_path / "counts.h5")
    for arguments, message in (
        (("counts.h5", "--to", "x.csv"), "has the suffix '.csv'; this command writes .h5ad or .nc or .npy"),
        (("counts.h5", "--to", "x.npy", "--samples", "0:99"), "--samples 0:99 leaves the axis"),
        (("posterior.h5", "--to", "x.npy"), "is not ours: its format is 'streamsample-posterior-1'"),
        (("nothing.h5", "--to", "x.npy"), "there is no such file"),
    ):
        paths = [tmp_path / text if text[0] in "cpnx" and "." in text else text for text in arguments]
        result = run("export", *paths)
        assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
    assert not (tmp_path / "x.npy").exists()
