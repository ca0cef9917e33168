"""Opening AnnData objects and files, and whatever is called one."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from streamsample.errors import DataError
from streamsample.interop import table as module
from streamsample.interop.table import open_table


def dense(values: object) -> np.ndarray:
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


@pytest.mark.parametrize("backed", [False, True])
def test_an_object_and_a_file_say_the_same(data: anndata.AnnData, path: Path, backed: bool) -> None:
    source = anndata.read_h5ad(path, backed="r") if backed else data
    with open_table(source) as one, open_table(path) as other:
        assert one.shape == other.shape == (12, 3)
        assert one.cells.tolist() == other.cells.tolist()
        assert one.features.tolist() == other.features.tolist() == ["STAT1", "CD86", "PDL1"]
        assert list(one.matrices) == list(other.matrices) == ["X", "counts", "dense"]
        assert one.obs.equals(other.obs)
        for layer in (None, "counts", "dense"):
            assert np.array_equal(dense(one.matrix(layer)[2:5]), dense(other.matrix(layer)[2:5]))
    if backed:
        source.file.close()


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize("rows", [1, 5, 100])
def test_blocks_are_the_whole(form: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(1).poisson(1, (13, 4)).astype(np.float32)
    matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[form](counts)
    anndata.AnnData(matrix).write_h5ad(tmp_path / "x.h5ad")
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 4 * rows)
    with open_table(tmp_path / "x.h5ad") as table:
        blocks = list(table.blocks(None))
    assert [n0 for n0, _ in blocks] == list(range(0, 13, rows))
    assert np.array_equal(np.concatenate([dense(block) for _, block in blocks]), counts)


def test_only_what_is_asked_for_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = anndata.io.read_elem
    monkeypatch.setattr(anndata.io, "read_elem", lambda element: read.append(element.name) or original(element))
    with open_table(path) as table:
        table.matrix("counts")[0:2]
    assert read == ["/obs", "/var"]


def test_a_file_without_x(data: anndata.AnnData, tmp_path: Path) -> None:
    bare = anndata.AnnData(obs=data.obs, var=data.var, layers=dict(data.layers))
    bare.write_h5ad(tmp_path / "bare.h5ad")
    for source in (bare, tmp_path / "bare.h5ad"):
        with open_table(source) as table:
            assert list(table.matrices) == ["counts", "dense"]
            with pytest.raises(DataError, match=r"has no X; give layer= one of those there: counts, dense"):
                table.matrix(None)


def test_a_layer_that_is_not_there(path: Path) -> None:
    with open_table(path) as table, pytest.raises(DataError, match=r"no layer 'raw'; .*: X, counts, dense"):
        table.matrix("raw")


def test_what_is_no_anndata_file(tmp_path: Path) -> None:
    text, other, cut = (tmp_path / name for name in ("text.h5ad", "other.h5ad", "cut.h5ad"))
    text.write_text("gene,cell_1\nSTAT1,3\n")
    with h5py.File(other, "w") as file:
        file["mu"] = np.ones(3)
    cut.write_bytes(other.read_bytes()[:100])
    (tmp_path / "folder.h5ad").mkdir()
    for name, message in {
        "text.h5ad": r"is not an .h5ad \(HDF5\) file: it begins with b'gene,cell_1",
        "other.h5ad": "is an HDF5 file but not an AnnData one: it has no obs, it holds mu",
        "cut.h5ad": "is a damaged HDF5 file",
        "folder.h5ad": "is a folder",
        "missing.h5ad": "there is no such file",
    }.items():
        with pytest.raises(DataError, match=message) as error, open_table(tmp_path / name):
            pass
        assert "\n" not in str(error.value)


def test_duplicate_features(data: anndata.AnnData) -> None:
    with pytest.warns(UserWarning, match="not unique"):
        twice = data[:, [0, 1, 1]].copy()
    with open_table(twice) as table, pytest.raises(DataError, match=r"1 feature names occur twice, 'CD86' first"):
        table.positions(np.array(["STAT1"]))
