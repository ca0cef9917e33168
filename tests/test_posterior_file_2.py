"""posterior.h5 with a design, its coefficients, or zero inflation: the second format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from streamsample.errors import PosteriorError
from streamsample.posterior import Posterior
from tests.posteriors import arrays, names, second

SHAPE, K = (9, 12, 7), 3
FORMAT = "streamsample-posterior-2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posterior.h5"


def parts() -> dict[str, Any]:
    """Every dataset of the second format."""
    return second(SHAPE, K) | names(SHAPE) | {"covariate_names": ["dose", "age", "β"]}


def written(path: Path, changes: dict[str, Any] | None = None, form: str = FORMAT) -> Path:
    """Write a posterior with h5py alone; a change to None leaves a dataset out, a dict is a group."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = form
        for name, value in (parts() | (changes or {})).items():
            if isinstance(value, dict):
                group = file.create_group(name)
                for key, item in value.items():
                    (group.attrs if key in ("shape", "encoding-type") else group)[key] = item
            elif value is not None:
                file[name] = value
    return path


def csr(**changes: Any) -> dict[str, Any]:
    """The design's group, as someone with SciPy and h5py writes it; a change to None leaves an item out."""
    matrix = sparse.csr_matrix(parts()["design"])
    items = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}
    return {name: value for name, value in (items | changes).items() if value is not None}


@pytest.mark.parametrize("design", [None, csr(), csr(**{"encoding-type": "csr_matrix"})])
def test_a_file_of_plain_h5py_opens(path: Path, design: Any) -> None:
    posterior = Posterior.open(written(path, {} if design is None else {"design": design}))
    expected = Posterior.from_arrays(**parts())
    assert posterior.shape == SHAPE
    assert posterior.facts.stream_version == 2
    assert posterior.facts.ncovariates == K
    assert posterior.facts.bytes_per_sample == expected.facts.bytes_per_sample
    assert posterior.digest() == expected.digest()
    some, few = np.array([7, 2]), np.array([5, 0])
    for found, wanted in zip(posterior.read(some, few).arrays, expected.read(some, few).arrays, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "left_out",
    [
        ("mu", "alpha", "group", "group_names", "size_factor", "zero_inflation", "covariate_names"),
        ("beta", "design", "covariate_names"),
        ("alpha", "group", "group_names"),
    ],
)
def test_what_may_be_left_out(path: Path, left_out: tuple[str, ...]) -> None:
    posterior = Posterior.open(written(path, dict.fromkeys(left_out)))
    expected = Posterior.from_arrays(**{name: value for name, value in parts().items() if name not in left_out})
    assert posterior.digest() == expected.digest()


@pytest.mark.parametrize("design", [parts()["design"], sparse.csr_matrix(parts()["design"])])
def test_saving_and_opening(path: Path, design: Any) -> None:
    posterior = Posterior.from_arrays(**parts() | {"design": design})
    posterior.save(path)
    with h5py.File(path) as file:
        assert file.attrs["format"] == FORMAT
        assert isinstance(file["design"], h5py.Group) == sparse.issparse(design)
        if sparse.issparse(design):
            read = anndata.io.read_elem(file["design"])  # as AnnData writes a sparse matrix
            np.testing.assert_array_equal(read.toarray(), design.toarray())
    found = Posterior.open(path)
    assert found.digest() == posterior.digest()
    assert found.facts.bytes_per_sample == posterior.facts.bytes_per_sample
    again = path.with_name("again.h5")
    found.save(again)
    assert Posterior.open(again).digest() == posterior.digest()


def test_other_cells_of_a_file(path: Path) -> None:
    posterior = Posterior.open(written(path))
    part = posterior.for_cells([1.0, 2.0], ["rep_1", "rep_0"], design=parts()["design"][:2])
    part.save(path.with_name("part.h5"))
    assert Posterior.open(path.with_name("part.h5")).digest() == part.digest()


def test_the_first_format_stays_where_nothing_is_new(path: Path) -> None:
    Posterior.from_arrays(**arrays(SHAPE)).save(path)
    with h5py.File(path) as file:
        assert file.attrs["format"] == "streamsample-posterior-1"
        assert sorted(file) == ["alpha", "group", "mu", "phi", "size_factor"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design": None}, r"beta has 3 covariates but these cells have no design"),
        ({"beta": None, "covariate_names": None}, r"a design of shape \(12, 3\) is given but no beta"),
        ({"design": np.ones((11, 3))}, r"design has shape \(11, 3\); it needs \(12, 3\)"),
        ({"design": np.full((12, 3), np.nan)}, r"posterior.h5: design must be finite"),
        ({"design": np.ones(12)}, r"posterior.h5: design has shape \(12,\)"),
        ({"design": 1.0}, r"posterior.h5: design has shape \(\)"),
        ({"design": csr(indptr=None)}, r"'design' is no CSR matrix: .* missing: indptr"),
        ({"design": csr(shape=None)}, r"'design' is no CSR matrix: .* attribute shape None"),
        ({"design": csr(**{"encoding-type": "csc_matrix"})}, r"encoding-type 'csc_matrix'"),
        ({"design": csr(shape=(12, 2))}, r"indices from 0 to 2 but 2 columns"),
        ({"mu": None, "beta": None, "design": None}, r"has no dataset 'mu'"),
        ({"phi": None}, r"has no dataset 'phi'"),
        ({"beta": np.ones((9, 3))}, r"'beta' is a dataset of shape \(9, 3\), not a dataset \[S, K, T\]"),
        ({"beta": np.ones((9, 3, 6))}, r"beta must be \[S, K, T\] with mu's \[S, T\] = \(9, 7\), it is \(9, 3, 6\)"),
        ({"beta": np.ones((9, 0, 7))}, r"beta has no covariates"),
        ({"beta": np.ones((9, 3, 7), int)}, r"'beta' holds int64, not float32 or float64"),
        ({"zero_inflation": np.ones((9, 6))}, r"zero_inflation must be \[S, T\] with mu's"),
        ({"covariate_names": ["a"]}, r"covariate_names has shape \(1,\), it needs \(3,\)"),
    ],
)
def test_bad_files_are_one_line(path: Path, changes: Any, message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.open(written(path, changes))
    assert "\n" not in str(error.value)


def test_the_first_format_with_what_is_new_is_refused(path: Path) -> None:
    with pytest.raises(PosteriorError, match=r"holds zero_inflation, beta, design but .* must be '.*-2'"):
        Posterior.open(written(path, form="streamsample-posterior-1"))
