"""A design is the same matrix dense and sparse, in whatever form it comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import sparse

from streamsample.designs import MOST_DENSE, Design
from streamsample.errors import PosteriorError
from streamsample.parameters import FloatArray

NAN, INF = np.nan, np.inf


def matrix(nrows: int = 9, ncolumns: int = 5) -> FloatArray:
    """Half of it zeros, one row and one column of nothing else."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(nrows, ncolumns)) * rng.integers(0, 2, (nrows, ncolumns))
    values[3] = 0.0
    values[:, 2] = -0.0
    return values


def from_rows(rows: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], shape: tuple[int, int]) -> FloatArray:
    return np.asarray(sparse.csr_matrix((rows[2], rows[1], rows[0]), shape=shape).toarray(), dtype=np.float64)


def forms(values: FloatArray) -> list[Any]:
    """The same matrix in all forms: CSR with stored zeros and CSR without them, too."""
    nrows, ncolumns = values.shape
    everything = np.arange(0, values.size + 1, ncolumns), np.tile(np.arange(ncolumns), nrows), values.ravel()
    return [
        values,
        np.asfortranarray(values),
        values.tolist(),
        pd.DataFrame(values),
        sparse.csr_matrix(values),
        sparse.csc_matrix(values),
        sparse.coo_array(values),
        Design.from_csr((nrows, ncolumns), *everything),
        Design.of(values),
    ]


def test_every_form_is_the_same_matrix() -> None:
    values = matrix()
    expected = Design.of(values).rows()
    for form in forms(values):
        design = Design.of(form)
        assert design.shape == (9, 5)
        assert all(np.array_equal(a, b) for a, b in zip(design.rows(), expected, strict=True))
        np.testing.assert_array_equal(from_rows(design.rows(), (9, 5)), values)


@pytest.mark.parametrize("form", [matrix(), sparse.csr_matrix(matrix())])
@pytest.mark.parametrize("cells", [[0], [8, 3, 3, 0, 5], [], list(range(9))])
def test_rows_of_some_cells(form: Any, cells: list[int]) -> None:
    chosen = Design.of(form).take(np.array(cells, dtype=np.int64))
    assert chosen.shape == (len(cells), 5)
    np.testing.assert_array_equal(from_rows(chosen.rows(), chosen.shape), matrix()[cells])


def test_many_columns_are_kept_sparse() -> None:
    values = np.zeros((7, MOST_DENSE + 1))
    values[[0, 6, 6], [4, 0, MOST_DENSE]] = 1, 2, 3
    design = Design.of(values)
    assert design.dense is None
    np.testing.assert_array_equal(from_rows(design.rows(), values.shape), values)
    assert design.nbytes == 8 * (8 + 3 + 3)
    kept = Design.of(values[:, :MOST_DENSE])
    assert kept.dense is not None
    assert kept.nbytes == 8 * 7 * MOST_DENSE


def test_columns_are_joined_by_name() -> None:
    frame = pd.DataFrame(matrix(), columns=list("abcde"))
    wanted = np.array(["e", "a", "b"])
    dense = Design.of(frame).named(wanted)
    thin = Design((9, 5), None, *Design.of(frame).rows(), names=Design.of(frame).names).named(wanted)
    for design in (dense, thin):
        assert design.shape == (9, 3)
        np.testing.assert_array_equal(from_rows(design.rows(), (9, 3)), matrix()[:, [4, 0, 1]])
    assert (np.diff(thin.indices)[np.diff(np.repeat(np.arange(9), np.diff(thin.indptr))) == 0] > 0).all()
    assert Design.of(matrix()).named(wanted).shape == (9, 5)  # no names of its own: as it is
    with pytest.raises(PosteriorError, match=r"design has no column 'x' \(1 such\); it has a, b, c, d, e"):
        Design.of(frame).named(np.array(["a", "x"]))


def test_types_are_taken_as_float64() -> None:
    design = Design.of(pd.DataFrame({"treated": [True, False], "dose": np.array([1, 2], np.int32)}))
    assert design.dense is not None
    assert design.dense.dtype == np.float64
    assert design.names is not None
    assert design.names.tolist() == ["treated", "dose"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), r"design has shape \(3,\); it needs 2 axes, \[N, K\]"),
        (np.ones((3, 0)), r"design has shape \(3, 0\)"),
        ([[1.0], [1.0, 2.0]], "design is not an array"),
        (np.array([["a"]]), "design holds <U1, not numbers; categories become columns of 0 and 1"),
        ([[1.0, NAN], [INF, 2.0]], r"design must be finite: 2 of 4 values are not, the first is nan at \(n=0, k=1\)"),
        (sparse.csr_matrix([[0.0, INF]]), r"1 of 1 values are not, the first is inf \(number 0 of those stored\)"),
        (pd.DataFrame({"batch": pd.Categorical(["a", "b"])}), "pandas.get_dummies"),
    ],
)
def test_what_is_no_design_is_one_line(values: Any, message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Design.of(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("indptr", "indices", "data", "message"),
    [
        ([0, 1], [0], [1.0], r"no CSR matrix of shape \(2, 3\): it has 2 row pointers, 1 indices and 1 values"),
        ([0, 1, 3], [0], [1.0], "3 row pointers, 1 indices"),
        ([0, 2, 1], [0], [1.0], "3 row pointers"),
        ([1, 1, 1], [0], [1.0], "3 row pointers"),
        ([0, 1, 1], [0], [1.0, 2.0], "1 indices and 2 values"),
        ([0, 1, 2], [0, 3], [1.0, 2.0], "indices from 0 to 3 but 3 columns"),
        ([0, 1, 2], [-1, 0], [1.0, 2.0], "indices from -1 to 0"),
        ([0, 2, 2], [1, 0], [1.0, 2.0], "indices don't rise"),
        ([0, 2, 2], [1, 1], [1.0, 2.0], "indices don't rise"),
    ],
)
def test_arrays_that_are_no_sparse_matrix(indptr: Any, indices: Any, data: Any, message: str) -> None:
    with pytest.raises(PosteriorError, match=message):
        Design.from_csr((2, 3), indptr, indices, data)
