"""Stream version 2 by the kernels: designs and zero inflation, on every route, give the twin's counts."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from scipy import sparse

from streamsample import slab_work
from streamsample.errors import CountOverflow, PosteriorError
from streamsample.exact import settle
from streamsample.kernels import slab
from streamsample.kernels.elementary import exponential
from streamsample.kernels.philox import uniform_at
from streamsample.kernels.slab import BRACKETS, COLUMN, GAMMA, NARROW, SKEWED, choose_routes
from streamsample.posterior import Posterior
from streamsample.slab_work import draws, key_words
from streamsample.stream import CountStream
from tests import reference_2
from tests.against_twin import by_twin
from tests.compiled import _twin
from tests.kernels.alone import counts_by_slab
from tests.posteriors import arrays, second
from tests.test_reference_2 import exponents

LAWS = {"small": (-1.5, 1.5, 0.5), "heavy": (0.0, 1.5, -3.0), "middling": (2.0, 1.5, 1.0), "large": (6.0, 2.0, 3.0)}


def regime(name: str, shape: tuple[int, int, int], *, covariates: int = 0, inflated: bool = False) -> dict[str, Any]:
    """Log-normal means and total counts; a design of any depth, a third of the features without zero inflation."""
    nsamples, ncells, nfeatures = shape
    mean, spread, phi = LAWS[name]
    rng = np.random.default_rng(list(LAWS).index(name))
    made: dict[str, Any] = {
        "mu": rng.lognormal(mean, spread, (nsamples, nfeatures)),
        "phi": rng.lognormal(phi, 1.0, (nsamples, nfeatures)),
        "alpha": rng.lognormal(0.0, 0.2, (nsamples, 3, nfeatures)),
        "size_factor": rng.lognormal(0.0, 0.4, ncells),
        "group": rng.integers(0, 3, ncells),
    }
    if covariates:
        made["design"] = rng.normal(0.0, 1.0, (ncells, covariates)) * rng.integers(0, 2, (ncells, covariates))
        made["beta"] = rng.normal(0.0, 0.3, (nsamples, covariates, nfeatures))
    if inflated:
        made["zero_inflation"] = rng.random((nsamples, nfeatures)) * (rng.random((nsamples, nfeatures)) < 0.67)
    return made


def agree(given: dict[str, Any], seed: int = 5, **chosen: Any) -> Any:
    """Counts of the kernels, which must be the twin's."""
    stream = CountStream(Posterior.from_arrays(**given), seed).select(**chosen)
    counts = counts_by_slab(stream)
    np.testing.assert_array_equal(counts, by_twin(stream, 1))
    return counts


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shape", [(2, 130, 40), (1, 21, 700), (1, 300, NARROW - 1)], ids=["cells", "blocks", "narrow"])
@pytest.mark.parametrize(("covariates", "inflated"), [(0, True), (3, False), (5, True)])
def test_every_count_is_the_twins(law: str, shape: tuple[int, int, int], covariates: int, inflated: bool) -> None:
    counts = agree(regime(law, shape, covariates=covariates, inflated=inflated))
    assert 0 < (counts == 0).mean() < 1


def test_small_ones_are_the_references() -> None:
    """Of plain Python floats and mpmath."""
    for left_out in ((), ("zero_inflation",), ("beta", "design"), ("mu", "alpha", "group")):
        given = {name: value for name, value in second((2, 9, 17)).items() if name not in left_out}
        stream = CountStream(Posterior.from_arrays(**given), 3)
        expected = reference_2.counts(3, given, [range(size) for size in stream.shape])  # type: ignore[arg-type]
        np.testing.assert_array_equal(counts_by_slab(stream), expected)


def test_the_form_of_the_design_changes_no_count() -> None:
    given = regime("small", (1, 90, 40), covariates=70)
    given["design"][:, 5:] *= np.random.default_rng(0).random((90, 65)) < 0.02  # as guides are
    expected = agree(given)
    np.testing.assert_array_equal(agree(given | {"design": sparse.csr_matrix(given["design"])}), expected)
    stored = sparse.csr_matrix(np.where(given["design"] == 0, 7.0, given["design"]))
    stored.data[stored.data == 7.0] = -0.0  # zeros that are stored
    np.testing.assert_array_equal(agree(given | {"design": stored}), expected)


def test_without_effect_it_is_version_1() -> None:
    given = arrays((2, 60, 40))
    expected = counts_by_slab(CountStream(Posterior.from_arrays(**given), 5))
    idle = {"beta": np.ones((2, 2, 40)), "design": np.zeros((60, 2)), "zero_inflation": np.zeros((2, 40))}
    np.testing.assert_array_equal(agree(given | idle), expected)


def test_selections_and_types_change_no_count() -> None:
    given = regime("middling", (3, 64, 50), covariates=2, inflated=True)
    whole = agree(given)
    chosen = {"samples": [2, 0], "cells": [5, 4, 60, 7, 33], "features": np.arange(49, 9, -1)}
    np.testing.assert_array_equal(
        agree(given, **chosen), whole[np.ix_(chosen["samples"], chosen["cells"], chosen["features"])]
    )
    stream = CountStream(Posterior.from_arrays(**given), 5)
    np.testing.assert_array_equal(counts_by_slab(stream, np.uint16), whole)


def test_all_routes_but_tables_serve_them() -> None:
    taken: dict[str, set[int]] = {}
    for what in ({"covariates": 2}, {"inflated": True}, {}):
        found = set()
        for law in LAWS:
            given = regime(law, (1, 600, 60), **what)  # type: ignore[arg-type]
            stream = CountStream(Posterior.from_arrays(**given))
            route, features = np.empty((1, 60), np.int8), np.arange(60, dtype=np.uint64)
            block, layout = draws(stream.load(0, 1).parameters), stream.layout(0, 600)
            choose_routes(0, 1, features, block, layout, 1, 2**32 - 1, route)
            concerned = given["zero_inflation"][0] > 0 if "zero_inflation" in given else slice(None)
            found |= set(route[0, concerned].tolist())
        taken[", ".join(what)] = found
    assert taken["covariates"] == taken["inflated"] == {BRACKETS, GAMMA, SKEWED}
    assert taken[""] == {BRACKETS, COLUMN, GAMMA, SKEWED}


def test_u_at_a_step_goes_through_tier_3() -> None:
    """Means are chosen so that u is a step of the inflated distribution to the last bit that float64 has."""
    seed, shape, phi, pi = 99, (1, 24, 40), 1.7, 0.0625
    key = key_words(seed)
    u = np.array([[uniform_at(np.uint64(0), np.uint64(n), np.uint64(t), key) for t in range(40)] for n in range(24)])
    tried = 0
    for n in range(shape[1]):
        v = (u[n] - pi) / (1 - pi)
        mu = np.where(v > 0, phi * np.expm1(-np.log(np.maximum(v, 1e-9)) / phi), 1.0)  # F(0) = (1 + m/phi)**-phi = v
        given = {"phi": np.full((1, 40), phi), "n_cells": shape[1], "zero_inflation": np.full((1, 40), pi)}
        minibatch = CountStream(Posterior.from_arrays(mu[None], **given), seed).load(0, 1)
        out = np.zeros(shape, np.uint32)
        minibatch.fill(0, 1, 0, shape[1], out)
        tried += minibatch.pending
        assert out[0, n].tolist() == [settle(float(m), phi, float(x), 0, pi) for m, x in zip(mu, u[n], strict=True)]
    assert tried > 600


@numba.njit(error_model="numpy")
def _exponentials(x, out):
    for i in range(x.size):
        out[i] = exponential(x[i])


def test_the_exponential_is_the_references_bit_for_bit() -> None:
    x = np.array([*exponents(), np.nan])
    found = np.empty_like(x)
    _exponentials(x, found)
    np.testing.assert_array_equal(found, [reference_2.exponential(value) for value in x.tolist()])
    np.testing.assert_array_equal(found[:-1], [_twin.exponential(value) for value in x.tolist()[:-1]])


@pytest.mark.parametrize("nfeatures", [NARROW - 1, 40])
@pytest.mark.parametrize(("law", "cell"), [("small", 7), ("large", 50)])
def test_a_mean_outside_the_domain_names_its_element(law: str, cell: int, nfeatures: int) -> None:
    given = regime(law, (2, 60, nfeatures), covariates=2, inflated=True)
    given["zero_inflation"][:] = 1.0  # even where the count is 0 whatever its mean
    given["design"][:], given["design"][cell], given["beta"][1, :, 4:] = 0.0, 1.0, 20.0
    stream = CountStream(Posterior.from_arrays(**given))
    with pytest.raises(PosteriorError, match=rf"the mean at sample 1, cell {cell}, feature 4 is .*; .* at most 1e\+07"):
        counts_by_slab(stream)
    counts_by_slab(stream.select(samples=[0]))
    counts_by_slab(stream.select(cells=[n for n in range(60) if not given["design"][n].any()]))
    given["beta"][1, :, 4:] = 400.0
    with pytest.raises(PosteriorError, match=rf"sample 1, cell {cell}, feature 4 is inf; "):
        counts_by_slab(CountStream(Posterior.from_arrays(**given)))


def test_an_overflow_names_its_element() -> None:
    given = regime("small", (1, 60, 40), covariates=2)
    given["design"][:], given["design"][31] = 0.0, 1.0
    given["mu"][:, 17], given["phi"][:, 17], given["beta"][:, :, 17] = 50.0, np.inf, 1.5
    given["mu"][:, :17], given["mu"][:, 18:] = 0.5, 0.5
    given["beta"][:, :, np.arange(40) != 17] = 0.0
    given["phi"][:, np.arange(40) != 17] = np.inf
    given["alpha"][:], given["size_factor"][:] = 1.0, 1.0
    with pytest.raises(CountOverflow, match=r"sample 0, cell 31, feature 17 \(mean 100\d.*above 255, .*uint8"):
        counts_by_slab(CountStream(Posterior.from_arrays(**given)), np.uint8)


def test_a_route_is_compiled_when_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then its counts are summed, which gives the same ones."""
    given = regime("large", (1, 96, 40))
    stream = CountStream(Posterior.from_arrays(**given), 1)
    expected = counts_by_slab(stream)
    monkeypatch.setattr(slab_work, "WORTH_COMPILING", 10 * expected.size)
    monkeypatch.setattr(slab_work, "_was_on_disk", lambda *_: False)
    monkeypatch.setattr(slab_work, "_left", type(slab_work._left)())
    used: list[str] = []
    for name in ("fill_by_gamma", "fill_by_columns", "fill_by_rows"):
        monkeypatch.setattr(slab, name, Watched(getattr(slab, name), used))
    waits = []
    for _ in range(24):  # ten until it is worth choosing, ten more until the choice is worth compiling
        used.clear()
        np.testing.assert_array_equal(counts_by_slab(stream), expected)
        waits.append("fill_by_gamma" not in used)
        assert "fill_by_rows" in used or not waits[-1]
    assert waits[:18] == [True] * 18
    assert waits[-1] is False


class Watched:
    """A kernel that was never compiled, and tells when it is used."""

    signatures = ()

    def __init__(self, kernel: Any, used: list[str]) -> None:
        self.kernel, self.py_func, self.used = kernel, kernel.py_func, used

    def __call__(self, *arguments: Any) -> None:
        self.used.append(self.py_func.__name__)
        self.kernel(*arguments)
