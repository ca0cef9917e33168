"""Compressed outputs from the command line: written, continued, verified, described, refused."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from streamsample.posterior import Posterior
from streamsample.stores import describe, store_for
from streamsample.stream import CountStream
from tests.test_cli import posterior, ran, refused

__all__ = ["posterior"]  # a fixture


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("counts.zarr", [], "zstd"),
        ("counts.zarr", ["--compression", "lz4", "--optimize-for", "feature"], "lz4"),
        ("counts.h5", ["--compression", "gzip"], "gzip"),
        ("counts.h5", ["--compression", "zstd", "--optimize-for", "cell"], "zstd"),
        ("counts.h5", ["--compression", "none"], None),
    ],
)
def test_written_and_verified(
    small_posterior: Posterior, posterior: Path, tmp_path: Path, name: str, options: list[str], codec: str | None
) -> None:
    output = tmp_path / name
    ran("sample", posterior, "-o", output, "--seed", "7", *options)
    stored = store_for(output).open(output)
    assert stored.manifest.layout["codec"] == codec
    assert json.loads(ran("info", output, "--json").stdout)["complete"]
    checked = json.loads(ran("verify", output, "--posterior", posterior, "--full", "--json").stdout)
    assert (checked["ok"], checked["counts_compared"]) == (True, 6 * 20 * 5)
    if codec == "gzip":
        with h5py.File(output) as file:
            np.testing.assert_array_equal(file["counts"][:], CountStream(small_posterior, seed=7)[:, :, :])
    ran("sample", posterior, "-o", output, "--seed", "7", *options, "--resume")
    assert "exists" in refused("sample", posterior, "-o", output, "--seed", "7", *options)
    ran("sample", posterior, "-o", output, "--seed", "8", *options, "--overwrite")
    assert describe(output).seed == 8


def test_a_complete_output_is_found_complete_without_its_options(posterior: Path, tmp_path: Path) -> None:
    output = tmp_path / "counts.h5"
    ran("sample", posterior, "-o", output, "--compression", "gzip", "--optimize-for", "feature")
    before = output.read_bytes()
    ran("sample", posterior, "-o", output, "--resume")
    assert output.read_bytes() == before
    complaint = refused("sample", posterior, "-o", output, "--resume", "--compression", "zstd")
    assert "codec is gzip there and zstd here" in complaint


def test_chunks_for_another_purpose_are_refused_and_not_ignored(tmp_path: Path) -> None:
    posterior, output = tmp_path / "posterior.h5", tmp_path / "counts.zarr"
    Posterior.from_arrays(mu=np.ones((2, 1000)), phi=np.ones((2, 1000)), n_cells=100).save(posterior)
    ran("sample", posterior, "-o", output, "--optimize-for", "cell")
    for options in ([], ["--optimize-for", "cell"]):
        assert "complete already" in ran("sample", posterior, "-o", output, "--resume", *options).stderr
    complaint = refused("sample", posterior, "-o", output, "--resume", "--optimize-for", "sample")
    assert "chunks is [1, 100, 1000] there and [1, 100, 327] here; give --overwrite" in complaint
    ran("sample", posterior, "-o", output, "--resume", "--overwrite", "--optimize-for", "sample")
    assert store_for(output).open(output).manifest.layout["chunks"] == [1, 100, 327]


@pytest.mark.parametrize(
    ("name", "compression", "complaint"),
    [
        ("counts.npy", "zstd", ".npy files can't have the compression 'zstd'; choose none"),
        ("counts.zarr", "gzip", ".zarr files can't have the compression 'gzip'; choose zstd or lz4"),
        ("counts.h5", "fast", "choose none or gzip or zstd or lz4"),
    ],
)
def test_what_a_format_lacks_is_refused(
    posterior: Path, tmp_path: Path, name: str, compression: str, complaint: str
) -> None:
    assert complaint in refused("sample", posterior, "-o", tmp_path / name, "--compression", compression)
    assert [file.name for file in tmp_path.iterdir()] == ["posterior.h5"]


def test_plan_tells_chunks() -> None:
    options = ["--shape", "1000,21761,31467", "--memory", "64G", "--safety-factor", "0.7", "--json"]
    plan = json.loads(ran("plan", *options, "-o", "counts.h5", "--compression", "gzip").stdout)["plan"]
    assert (plan["chunks"], plan["codec"]) == ([1, 1984, 32], "gzip")
    assert plan["slab_cells"] % 1984 == 0
    plan = json.loads(ran("plan", *options, "-o", "counts.zarr", "--optimize-for", "feature").stdout)["plan"]
    assert (plan["chunks"], plan["shards"]) == ([1, 3632, 16], [5, 21792, 31472])
