"""Posteriors of stream version 2: coefficients of a design, and zero inflation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from streamsample.errors import PosteriorError
from streamsample.posterior import Posterior
from tests.posteriors import arrays, names, second

SHAPE, K = (5, 12, 7), 3


def good() -> dict[str, Any]:
    """Arguments of a posterior with everything."""
    return second(SHAPE, K) | names(SHAPE) | {"covariate_names": ["dose", "age", "treated"]}


def test_sizes_and_names() -> None:
    posterior = Posterior.from_arrays(**good())
    facts = posterior.facts
    assert (facts.ncovariates, facts.zero_inflated, facts.stream_version) == (3, True, 2)
    assert facts.bytes_per_sample == 8 * 7 * (2 + 2 + 3 + 1)
    assert facts.nblocks == 2 + 2 + 3 + 1
    assert repr(posterior) == ("<Posterior 5 samples x 12 cells x 7 features, 2 groups, 3 covariates, zero-inflated>")
    assert facts.covariate_names is not None
    assert facts.covariate_names.tolist() == ["dose", "age", "treated"]
    assert Posterior.from_arrays(**arrays(SHAPE)).facts.stream_version == 1


def test_reading_some_samples_and_features() -> None:
    given = good()
    draws = Posterior.from_arrays(**given).read(np.array([4, 1]), np.array([6, 0, 3]))
    assert draws.zero_inflation is not None
    assert draws.beta is not None
    np.testing.assert_array_equal(draws.zero_inflation, given["zero_inflation"][[4, 1]][:, [6, 0, 3]])
    np.testing.assert_array_equal(draws.beta, given["beta"][[4, 1]][:, :, [6, 0, 3]])
    assert all(block.flags.c_contiguous for block in draws.arrays)
    assert draws.nbytes == 8 * 2 * 3 * (2 + 2 + 3 + 1)
    part = draws.rows(slice(1, 2))
    assert [block.shape[0] for block in part.arrays] == [1] * 5
    np.testing.assert_array_equal(part.arrays[4], draws.beta[1:])


def test_mu_may_be_left_out_where_there_is_beta() -> None:
    given = second(SHAPE, K)
    del given["mu"], given["alpha"], given["group"]
    draws = Posterior.from_arrays(**given).read(np.arange(5))
    assert (draws.mu == 1).all()
    assert draws.mu.shape == (5, 7)
    assert (draws.alpha == 1).all()
    spelled = Posterior.from_arrays(mu=np.ones((5, 7)), **given)
    assert Posterior.from_arrays(**given).digest() == spelled.digest()
    del given["size_factor"]
    assert Posterior.from_arrays(**given).shape == SHAPE  # the design tells the number of cells


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": None, "covariate_names": None}, r"a design of shape \(12, 3\) is given but no beta"),
        ({"design": None}, r"beta has 3 covariates but these cells have no design; .* shape \(12, 3\)"),
        ({"design": np.ones((11, 3))}, r"design has shape \(11, 3\); it needs \(12, 3\): a row for each cell"),
        ({"design": np.ones((12, 4))}, r"design has shape \(12, 4\); it needs \(12, 3\)"),
        ({"design": np.full((12, 3), np.nan)}, r"design must be finite: 36 of 36 .* at \(n=0, k=0\)"),
        ({"beta": np.ones((5, 7))}, r"beta has shape \(5, 7\); it needs 3 axes, \[S, K, T\]"),
        ({"beta": np.ones((5, 3, 6))}, r"beta has shape \(5, 3, 6\), not \[S, K, T\] with mu's \[S, T\] = \(5, 7\)"),
        ({"beta": np.ones((5, 0, 7))}, r"beta has no covariates"),
        ({"zero_inflation": np.ones((5, 6))}, r"zero_inflation has shape \(5, 6\), not mu's \[S, T\] = \(5, 7\)"),
        ({"covariate_names": ["a"]}, r"covariate_names has shape \(1,\), it needs \(3,\)"),
        ({"covariate_names": list("aab")}, r"1 covariate names occur twice, 'a' first"),
        ({"mu": None, "beta": None, "design": None}, r"phi is needed, and mu or beta"),
        ({"phi": None}, r"phi is needed"),
    ],
)
def test_parts_that_disagree_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.from_arrays(**good() | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("zero_inflation", (2, 3), -0.1, r"zero_inflation must be in \[0, 1\]: 1 of 35 .* -0\.1 at \(s=2, t=3\)"),
        ("zero_inflation", (2, 3), 1.5, r"zero_inflation must be in \[0, 1\]"),
        ("zero_inflation", (2, 3), np.nan, r"zero_inflation must be .* is nan at \(s=2, t=3\)"),
        ("beta", (4, 1, 6), np.inf, r"beta of covariate 1 must be finite: 1 of 35 .* inf at \(s=4, t=6\)"),
        ("beta", (0, 2, 0), np.nan, r"beta of covariate 2 must be finite"),
    ],
)
def test_values_outside_the_domain(name: str, at: tuple[int, ...], value: float, message: str) -> None:
    given = good()
    given[name][at] = value
    with pytest.raises(PosteriorError, match=message):
        Posterior.from_arrays(**given)


def test_other_cells_need_their_design() -> None:
    posterior = Posterior.from_arrays(**good())
    other = np.arange(6.0).reshape(2, 3)
    found = posterior.for_cells([1.0, 2.0], [0, 1], design=other)
    assert found.shape == (5, 2, 7)
    frame = pd.DataFrame(other[:, ::-1], columns=["treated", "age", "dose"])
    frame["unused"] = 7.0
    for form in (sparse.csr_matrix(other), frame):
        assert posterior.for_cells([1.0, 2.0], [0, 1], design=form).digest() == found.digest()
    with pytest.raises(PosteriorError, match=r"these cells have no design; give design=, .* of shape \(2, 3\)"):
        posterior.for_cells([1.0, 2.0])
    with pytest.raises(PosteriorError, match=r"design has shape \(3, 3\); it needs \(2, 3\)"):
        posterior.for_cells([1.0, 2.0], design=np.ones((3, 3)))
    with pytest.raises(PosteriorError, match="design has no column 'age'"):
        posterior.for_cells([1.0], design=pd.DataFrame({"dose": [1.0], "treated": [0.0]}))
    with pytest.raises(PosteriorError, match="is given but no beta"):
        Posterior.from_arrays(**arrays(SHAPE)).for_cells([1.0], design=np.ones((1, 3)))


def test_the_digest_is_a_contract() -> None:
    posterior = Posterior.from_arrays(
        [[0.5, 2.0]],
        [[1.0, np.inf]],
        zero_inflation=[[0.25, 0.0]],
        beta=[[[1.0, -1.0], [0.5, 0.0]]],
        design=[[0.0, 1.0], [-0.0, 0.0], [2.0, -0.5]],
        covariate_names=["dose", "β"],
    )
    assert posterior.digest() == "8473ea91cad064cb15e52286b0a546097329ecc32cd4849e48a720f64299e11d"


def test_the_digest_is_of_the_content() -> None:
    given = good()
    digests = {Posterior.from_arrays(**given).digest()}
    full = given["design"].copy()
    full[full == 0] = -0.0
    for design in (full, sparse.csr_matrix(full), sparse.csc_matrix(full)):
        digests.add(Posterior.from_arrays(**given | {"design": design}).digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("zero_inflation", (4, 6), 0.75), ("beta", (4, 2, 6), 9.0), ("design", (11, 2), 9.0)],
)
def test_the_digest_sees_every_part(name: str, at: tuple[int, ...], value: float) -> None:
    changed = good()
    changed[name][at] = value
    assert Posterior.from_arrays(**changed).digest() != Posterior.from_arrays(**good()).digest()


def test_the_digest_sees_what_is_left_out() -> None:
    given = good()
    versions = [given | {"covariate_names": None}, given | {"zero_inflation": None}, arrays(SHAPE) | names(SHAPE)]
    digests = {Posterior.from_arrays(**version).digest() for version in [given, *versions]}
    assert len(digests) == 4
