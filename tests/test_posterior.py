"""A posterior knows its sizes, refuses what has no counts, and is the same by content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamsample.array_source import ArraySource
from streamsample.cells import Origin, make_cells
from streamsample.errors import PosteriorError
from streamsample.posterior import Posterior
from tests.posteriors import arrays, listed, named_posterior, names

SHAPE = (5, 12, 7)
NAN, INF = np.nan, np.inf


def good() -> dict[str, Any]:
    """Arguments of a posterior of 5 samples, 12 cells, 7 features and 2 groups."""
    return arrays(SHAPE) | names(SHAPE)


def with_value(name: str, at: tuple[int, ...], value: float) -> dict[str, Any]:
    """Good arguments but for one value."""
    given = good()
    given[name] = np.array(given[name])
    given[name][at] = value
    return given


def test_sizes_and_names() -> None:
    posterior = Posterior.from_arrays(**good())
    facts = posterior.facts
    assert posterior.shape == SHAPE
    assert (facts.nsamples, facts.nfeatures, facts.ngroups) == (5, 7, 2)
    assert facts.bytes_per_sample == 8 * 7 * 4
    assert facts.dtype == np.float64
    assert listed(facts.feature_names) == good()["feature_names"]
    assert posterior.fitted.all()
    assert posterior.fitted.shape == (7,)


def test_the_representation_is_a_line() -> None:
    assert repr(named_posterior(SHAPE)) == "<Posterior 5 samples x 12 cells x 7 features, 2 groups>"
    large = Posterior.from_arrays(np.ones((1, 2000)), np.ones((1, 2000)), n_cells=30_000)
    assert repr(large) == "<Posterior 1 samples x 30,000 cells x 2,000 features, 1 group>"


def test_what_may_be_left_out() -> None:
    posterior = Posterior.from_arrays([[1.0, 2.0]], [[3, 4]], n_cells=6)
    assert posterior.shape == (1, 6, 2)
    assert posterior.cells.size_factor.tolist() == [1.0] * 6
    assert posterior.cells.group.tolist() == [0] * 6
    draws = posterior.read(np.array([0]))
    assert draws.alpha.tolist() == [[[1.0, 1.0]]]
    assert draws.phi.dtype == np.float64
    assert posterior.facts.feature_names is posterior.facts.group_names is posterior.cells.names is None
    given = good()
    given["alpha"] = np.ones_like(given["alpha"][:, :1])
    given["group"], given["group_names"] = given["group"] * 0, None
    spelled = Posterior.from_arrays(**given)
    del given["alpha"], given["group"]
    assert Posterior.from_arrays(**given).digest() == spelled.digest()


def test_reading_some_samples_and_features() -> None:
    given = good()
    draws = Posterior.from_arrays(**given).read(np.array([4, 1]), np.array([6, 0, 3]))
    np.testing.assert_array_equal(draws.mu, given["mu"][[4, 1]][:, [6, 0, 3]])
    np.testing.assert_array_equal(draws.phi, given["phi"][[4, 1]][:, [6, 0, 3]])
    np.testing.assert_array_equal(draws.alpha, given["alpha"][[4, 1]][:, :, [6, 0, 3]])
    assert all(block.flags.c_contiguous for block in (draws.mu, draws.phi, draws.alpha))


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        (
            "mu",
            (2, 3),
            NAN,
            r"mu must be finite and at least 0: 1 of 35 values are not, the first is nan at \(s=2, t=3",
        ),
        ("mu", (4, 0), INF, r"mu must be finite .* the first is inf at \(s=4, t=0\)"),
        ("mu", (0, 6), -1e-9, r"mu must be finite and at least 0.* -1e-09 at \(s=0, t=6\)"),
        ("mu", (1, 2), 1e9, r"the mean at group \d's largest size factor .* at most 1e\+07: .* at \(s=1, t=2\)"),
        ("phi", (3, 1), NAN, r"phi must be in \[1e-06, 1e\+12\] or inf: 1 of 35 .* nan at \(s=3, t=1\)"),
        ("phi", (3, 1), 0.0, r"phi must be in .* the first is 0 at \(s=3, t=1\)"),
        ("phi", (3, 1), -2.0, r"phi must be in .* the first is -2 at \(s=3, t=1\)"),
        ("phi", (3, 1), -INF, r"phi must be in .* the first is -inf at \(s=3, t=1\)"),
        ("phi", (3, 1), 9e-7, r"phi must be in .* 9e-07 at"),
        ("phi", (3, 1), 1.1e12, r"phi must be in .* 1\.1e\+12 at"),
        ("alpha", (1, 1, 5), NAN, r"alpha of group 1 must be finite and at least 0: 1 of 35 .* nan at \(s=1, t=5\)"),
        ("alpha", (1, 0, 5), INF, r"alpha of group 0 must be finite .* inf at \(s=1, t=5\)"),
        ("alpha", (1, 0, 5), -0.5, r"alpha of group 0 .* -0\.5 at \(s=1, t=5\)"),
        ("alpha", (1, 1, 5), 2.0**100, r"group 1's largest size factor .* at \(s=1, t=5\)"),
        ("size_factor", (8,), NAN, r"1 of 12 size factors are NaN, infinite or negative; the first is nan at cell 8"),
        ("size_factor", (8,), INF, r"the first is inf at cell 8"),
        ("size_factor", (8,), -0.1, r"the first is -0\.1 at cell 8"),
        ("size_factor", (8,), 1e9, r"the mean at group \d's largest size factor 1e\+09 must be at most 1e\+07"),
        ("group", (3,), 2, r"group 2 of cell 3 is not in \[0, 2\) \(1 such\)"),
        ("group", (3,), -1, r"group -1 of cell 3 is not in \[0, 2\)"),
    ],
)
def test_bad_values_are_one_line(name: str, at: tuple[int, ...], value: float, message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.from_arrays(**with_value(name, at, value))
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def test_bad_values_are_counted_and_the_first_named() -> None:
    given = good()
    given["phi"][[4, 1, 1], [0, 6, 2]] = NAN
    with pytest.raises(PosteriorError, match=r"3 of 35 values are not, the first is nan at \(s=1, t=2\)"):
        Posterior.from_arrays(**given)


def test_values_at_the_edge_of_the_domain_are_fine() -> None:
    given = good() | {"size_factor": np.full(12, 2.0), "alpha": np.ones((5, 2, 7))}
    given["mu"][0, :2] = 0.0, 5e6
    given["phi"][0, :3] = 1e-6, 1e12, INF
    Posterior.from_arrays(**given)
    given["mu"][0, 1] = np.nextafter(5e6, INF)
    with pytest.raises(PosteriorError, match="at most 1e"):
        Posterior.from_arrays(**given)


def test_products_beyond_float64_are_refused_without_a_warning() -> None:
    for size_factor in (1.0, 0.0):
        with pytest.raises(PosteriorError, match="at most 1e"):
            Posterior.from_arrays([[1e200]], [[1.0]], [[[1e200]]], size_factor=[size_factor])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": np.ones(7)}, r"mu has shape \(7,\); it needs 2 axes, \[S, T\]"),
        ({"mu": np.ones((4, 7))}, r"phi has shape \(5, 7\) but mu has \(4, 7\)"),
        ({"phi": np.ones((5, 7, 1))}, r"phi has shape \(5, 7, 1\); it needs 2 axes"),
        ({"alpha": np.ones((5, 7))}, r"alpha has shape \(5, 7\); it needs 3 axes, \[S, C, T\]"),
        ({"alpha": np.ones((5, 7, 2))}, r"alpha has shape \(5, 7, 2\), not \[S, C, T\]"),
        ({"alpha": np.ones((4, 2, 7))}, r"alpha has shape \(4, 2, 7\), not"),
        ({"size_factor": np.ones((12, 1))}, r"size_factor has shape \(12, 1\); it needs 1 axes, \[N\]"),
        ({"size_factor": np.ones(11)}, r"group has shape \(12,\) but there are 11 size factors"),
        ({"size_factor": None}, r"without size_factor the number of cells is needed, but n_cells is None"),
        ({"n_cells": 13}, r"there are 12 size factors for n_cells = 13"),
        ({"group": np.zeros(12)}, r"group must hold integers in \[0, C\), not float64"),
        ({"group": np.zeros((12, 1), int)}, r"group has shape \(12, 1\)"),
        ({"group": ["rep_0"] * 12}, r"group must hold integers"),
        ({"mu": np.ones((0, 7)), "phi": np.ones((0, 7)), "alpha": None}, r"has no samples: its sizes are"),
        ({"mu": np.ones((5, 0)), "phi": np.ones((5, 0)), "alpha": None}, r"has no features"),
        ({"alpha": np.ones((5, 0, 7))}, r"has no groups"),
        ({"size_factor": [], "group": None}, r"has no cells"),
        ({"cell_names": ["a"]}, r"cell_names has shape \(1,\), it needs \(12,\)"),
        ({"feature_names": ["a"]}, r"feature_names has shape \(1,\), it needs \(7,\)"),
        ({"group_names": ["a"]}, r"group_names has shape \(1,\), it needs \(2,\)"),
        ({"fitted": [True]}, r"fitted has shape \(1,\), it needs \(7,\)"),
        ({"feature_names": list("abcbefa")}, r"2 feature names occur twice, 'a' first; .*var_names_make_unique"),
        ({"group_names": ["x", "x"]}, r"1 group names occur twice, 'x' first"),
        ({"mu": np.full((5, 7), "1")}, r"mu holds <U1, not numbers"),
        ({"mu": np.ones((5, 7), complex)}, r"mu holds complex128, not numbers"),
        ({"mu": [[1.0], [1.0, 2.0]]}, r"mu is not an array"),
    ],
)
def test_shapes_and_names_that_disagree(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.from_arrays(**good() | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n_cells", [0, -2])
def test_no_cells(n_cells: int) -> None:
    with pytest.raises(PosteriorError, match=f"n_cells is {n_cells}"):
        Posterior.from_arrays([[1.0]], [[1.0]], n_cells=n_cells)


def test_origin_and_fitted_are_kept() -> None:
    origin = Origin(1000.0, ("bio_rep",), "sum_factor", "counts")
    fitted = np.arange(7) != 3
    posterior = Posterior.from_arrays(**good(), origin=origin, fitted=fitted)
    assert posterior.origin == origin
    assert posterior.fitted.tolist() == fitted.tolist()
    assert posterior.for_cells([1.0]).fitted.tolist() == fitted.tolist()


def test_a_posterior_checks_whatever_source_it_has() -> None:
    source = ArraySource(np.ones((2, 3)), np.ones((2, 3)), feature_names=np.array(["a", "b", "a"]))
    cells = make_cells(None, None, 4, None)
    with pytest.raises(PosteriorError, match="occur twice"):
        Posterior(source, cells)
    fine = replace(source, feature_names=None)
    assert Posterior(fine, cells).shape == (2, 4, 3)
    with pytest.raises(PosteriorError, match=r"is not in \[0, 1\)"):
        Posterior(fine, named_posterior(SHAPE).cells)
