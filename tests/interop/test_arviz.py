"""Draws in ArviZ's layout become a posterior, wherever they are and however they are parametrised."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray
from numpy.typing import NDArray

from streamsample.errors import PosteriorError
from streamsample.interop.lazy import Outer
from streamsample.interop.xarray_view import variable
from streamsample.posterior import Posterior
from tests.posteriors import listed

CHAINS, DRAWS, C, T, N = 2, 5, 3, 4, 7
RNG = np.random.default_rng(0)
MU = RNG.gamma(2.0, 1.0, (CHAINS, DRAWS, T))
PHI = RNG.gamma(5.0, 1.0, (CHAINS, DRAWS, T))
ALPHA = RNG.lognormal(0.0, 0.3, (CHAINS, DRAWS, C, T))
FEATURES, GROUPS, CELLS = list("abcd"), ["x", "y", "z"], [f"cell{n}" for n in range(N)]
SIZE_FACTOR, GROUP = RNG.lognormal(0.0, 0.3, N), RNG.integers(0, C, N)


def tree(**variables: Any) -> xarray.DataTree:
    """A posterior as a library would hand it over; what is given is added."""
    draw = ("chain", "draw")
    variables = {
        "m": ((*draw, "gene"), MU),
        "r": ((*draw, "gene"), PHI),
        "a": ((*draw, "batch", "gene"), ALPHA),
    } | variables
    coords = {"gene": FEATURES, "batch": GROUPS}
    constant = {"depth": ("cell", SIZE_FACTOR), "batch_of": ("cell", np.array(GROUPS)[GROUP])}
    return xarray.DataTree.from_dict(
        {"posterior": xarray.Dataset(variables, coords), "constant_data": xarray.Dataset(constant, {"cell": CELLS})}
    )


def as_given(kind: str, folder: Path) -> Any:
    made = tree()
    if kind == "tree":
        return made
    if kind == "inference_data":
        return SimpleNamespace(posterior=made.posterior.to_dataset(), constant_data=made.constant_data.to_dataset())
    if kind == "netcdf":
        made.to_netcdf(folder / "fit.nc", engine="h5netcdf")
        return folder / "fit.nc"
    made.to_zarr(folder / "fit.zarr", zarr_format=2)
    return str(folder / "fit.zarr")


@pytest.mark.parametrize("kind", ["tree", "inference_data", "netcdf", "zarr"])
def test_every_container_gives_the_same_posterior(kind: str, tmp_path: Path) -> None:
    found = Posterior.from_arviz(
        as_given(kind, tmp_path), mu="m", phi="r", alpha="a", size_factor="depth", group="batch_of"
    )
    expected = Posterior.from_arrays(
        MU.reshape(-1, T), PHI.reshape(-1, T), ALPHA.reshape(-1, C, T), size_factor=SIZE_FACTOR, group=GROUP,
        cell_names=CELLS, feature_names=FEATURES, group_names=GROUPS,
    )  # fmt: skip
    assert found.shape == (CHAINS * DRAWS, N, T)
    assert found.digest() == expected.digest()
    found.save(tmp_path / "posterior.h5")
    assert Posterior.open(tmp_path / "posterior.h5").digest() == expected.digest()


def test_minibatches_are_read_from_the_chains_they_are_in() -> None:
    found = Posterior.from_arviz(tree(), mu="m", phi="r", alpha="a", n_cells=2)
    whole, chosen = MU.reshape(-1, T), np.array([8, 1, 3, 4, 5, 6])
    np.testing.assert_array_equal(found.read(chosen).mu, whole[chosen])
    block = found.read(chosen, np.array([3, 0]))
    np.testing.assert_array_equal(block.alpha, ALPHA.reshape(-1, C, T)[chosen][..., [3, 0]])


def test_only_what_is_asked_for_is_read() -> None:
    read: list[tuple[int, ...]] = []

    def part(key: tuple[Any, ...]) -> NDArray[Any]:
        found = MU[key]
        read.append(found.shape)
        return found

    lazy = variable(Outer(MU.shape, MU.dtype, part), ("chain", "draw", "gene"))
    found = Posterior.from_arviz(xarray.Dataset({"m": lazy, "r": lazy}), mu="m", phi="r", n_cells=2)
    read.clear()
    found.read(np.array([6, 7, 0]))
    assert read == [(2, T), (2, T), (1, T), (1, T)]
    read.clear()
    block = found.read(np.array([6, 7, 0]), np.array([2]))
    assert read == [(2, 1), (2, 1), (1, 1), (1, 1)]
    np.testing.assert_array_equal(block.mu, MU.reshape(-1, T)[[6, 7, 0]][:, [2]])
    read.clear()
    block = found.read(np.array([3]), np.array([3, 1, 1]))  # near each other: a run that holds them
    assert read == [(1, 3), (1, 3)]
    np.testing.assert_array_equal(block.phi, MU[0, [3]][:, [3, 1, 1]])


@pytest.mark.parametrize("features", [[0], [7, 950, 3], list(range(100, 300)), list(range(0, 1000, 3)), []])
def test_features_are_chosen_before_anything_is_read(features: list[int], tmp_path: Path) -> None:
    draws = RNG.gamma(2.0, 1.0, (2, 3, 1000))
    data = {"m": (("chain", "draw", "gene"), draws), "r": (("chain", "draw"), draws[..., 0])}
    groups = {"posterior": xarray.Dataset(data | {"a": (("chain", "draw", "k", "gene"), draws[:, :, None])})}
    xarray.DataTree.from_dict(groups).to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    chosen, samples = np.array(features, dtype=np.int64), np.array([5, 0, 4])
    for mu in ("m", lambda draws: draws.m):
        found = Posterior.from_arviz(tmp_path / "fit.nc", mu=mu, phi="r", alpha="a", n_cells=1)
        block = found.source.read(samples, chosen)
        np.testing.assert_array_equal(block.mu, draws.reshape(6, 1000)[samples][:, chosen])
        np.testing.assert_array_equal(block.alpha[:, 0], block.mu)
        assert (block.phi == draws.reshape(6, 1000)[samples, :1]).all()
        assert block.phi.shape == block.mu.shape


def test_chains_are_read_into_their_place() -> None:
    wide = np.ones((8, 50, 2000))
    data = xarray.Dataset({"m": (("chain", "draw", "gene"), wide)})
    found = Posterior.from_arviz(data, mu="m", phi="m", n_cells=1)
    tracemalloc.start()
    try:
        block = found.source.read(np.arange(400))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert block.nbytes == 3 * wide.nbytes
    assert peak < 1.4 * block.nbytes  # 2.0 where they are put together afterwards


MEAN, TOTAL = MU[0, 0], PHI[0, 0]
PAIRS = {
    ("mu", "phi"): (MEAN, TOTAL),
    ("mean", "total_count"): (MEAN, TOTAL),
    ("mean", "concentration"): (MEAN, TOTAL),
    ("mu", "theta"): (MEAN, TOTAL),
    ("mean", "dispersion"): (MEAN, 1 / TOTAL),
    ("mu", "dispersion"): (MEAN, 1 / TOTAL),
    ("total_count", "probs"): (TOTAL, MEAN / (MEAN + TOTAL)),
    ("total_count", "logits"): (TOTAL, np.log(MEAN / TOTAL)),
    ("n", "p"): (TOTAL, TOTAL / (MEAN + TOTAL)),
}


@pytest.mark.parametrize("names", PAIRS, ids=", ".join)
def test_every_parametrisation_means_the_same(names: tuple[str, str]) -> None:
    pair = {
        f"v_{name}": (("chain", "draw", "gene"), value[None, None])
        for name, value in zip(names, PAIRS[names], strict=True)
    }
    data = xarray.Dataset(pair)
    found = Posterior.from_arviz(data, n_cells=1, **{name: f"v_{name}" for name in names}).read(np.array([0]))
    np.testing.assert_allclose(found.mu[0], MEAN, rtol=1e-14)
    np.testing.assert_allclose(found.phi[0], TOTAL, rtol=1e-14)


def test_no_dispersion_is_poisson() -> None:
    data = tree(d=(("chain", "draw"), np.zeros((CHAINS, DRAWS))))
    assert np.isposinf(Posterior.from_arviz(data, mean="m", dispersion="d", n_cells=1).read(np.array([3])).phi).all()


def test_a_rate_alone_is_poisson() -> None:
    found = Posterior.from_arviz(tree(m=(("chain", "draw", "gene"), MU.astype("f4"))), rate="m", gate=0.25, n_cells=1)
    assert found.facts.dtype == np.float32
    block = found.read(np.arange(10))
    np.testing.assert_array_equal(block.mu, MU.reshape(-1, T).astype("f4"))
    assert np.isposinf(block.phi).all()
    np.testing.assert_array_equal(block.zero_inflation, np.full((10, T), 0.25))


def test_numbers_and_constants_are_the_same_for_all_draws() -> None:
    draws = MU.reshape(-1, T), np.full((10, T), 5.5), np.full((10, 1, T), 0.1)
    expected = Posterior.from_arrays(*draws, n_cells=2, feature_names=FEATURES)
    constant = tree(five=((), 5.5))
    for phi in (5.5, np.float32(5.5), "five", lambda _: 5.5, lambda draws: draws.five):
        found = Posterior.from_arviz(constant, mu="m", phi=phi, alpha=0.1, n_cells=2)
        assert found.digest() == expected.digest()
    found = Posterior.from_arviz(tree(), rate=lambda _: xarray.DataArray(MU[0, 0], dims="gene"), n_cells=2)
    np.testing.assert_array_equal(found.read(np.array([9, 3, 4])).mu, np.tile(MU[0, 0], (3, 1)))


def test_functions_of_the_draws_serve_as_variables() -> None:
    found = Posterior.from_arviz(tree(), mu=lambda draws: np.exp(draws.m) / 10, phi="r", n_cells=1)
    np.testing.assert_allclose(found.read(np.array([9, 0])).mu, np.exp(MU.reshape(-1, T)[[9, 0]]) / 10)


def test_scalars_and_made_up_dimensions_are_understood() -> None:
    """A library that is told no names makes up one for each dimension of each variable."""
    draw = ("chain", "draw")
    data = xarray.Dataset(
        {
            "m": ((*draw, "m_dim_0"), MU), "r": (draw, PHI[..., 0]),
            "by_group": ((*draw, "by_group_dim_0"), ALPHA[..., 0]),
            "a": ((*draw, "a_dim_0", "a_dim_1"), ALPHA),
        },
        {"m_dim_0": range(T), "a_dim_0": range(C)},
    )  # fmt: skip
    for alpha in ("by_group", "a"):
        found = Posterior.from_arviz(data, mu="m", phi="r", alpha=alpha, group=GROUP)
        assert (found.facts.ngroups, found.facts.feature_names, found.facts.group_names) == (C, None, None)
        block = found.read(np.array([2]))
        np.testing.assert_array_equal(block.phi[0], np.full(T, PHI[0, 2, 0]))
        expected = ALPHA[0, 2] if alpha == "a" else ALPHA[0, 2, :, :1]
        np.testing.assert_array_equal(block.alpha[0], np.broadcast_to(expected, (C, T)))
    one = Posterior.from_arviz(data[["r", "by_group"]], mu="r", phi="r", alpha="by_group", group=GROUP)
    assert one.shape == (10, N, 1)


def test_one_sample_dimension_and_float32() -> None:
    data = xarray.Dataset(
        {"m": (("sample", "gene"), MU[0].astype("f4")), "r": (("sample", "gene"), PHI[0].astype("f4"))}
    )
    found = Posterior.from_arviz(data, mu="m", phi="r", n_cells=3, sample_dims=("sample",))
    assert found.facts.dtype == np.float32
    assert found.shape == (DRAWS, 3, T)
    np.testing.assert_array_equal(found.read(np.array([4, 2])).mu, MU[0, [4, 2]].astype("f4"))


def test_named_groups_of_unnamed_draws_are_numbered_in_order() -> None:
    data = xarray.Dataset({"m": (("chain", "draw"), MU[..., 0]), "a": (("chain", "draw", "k"), ALPHA[..., 0])})
    found = Posterior.from_arviz(data, mu="m", phi="m", alpha="a", group=np.array(GROUPS)[GROUP])
    assert found.cells.group.tolist() == np.unique(GROUP, return_inverse=True)[1].tolist()
    with pytest.raises(PosteriorError, match=r"group names 1 groups \(x\), the draws have 3"):
        Posterior.from_arviz(data, mu="m", phi="m", alpha="a", group=["x"])


def test_names_of_cells_come_from_constant_data() -> None:
    found = Posterior.from_arviz(tree(), mu="m", phi="r", size_factor="depth")
    assert listed(found.cells.names) == CELLS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": "nothing"}, "mu: the posterior has no variable 'nothing'; it has a, long, m, "),
        ({"phi": None, "total_count": "r"}, r"\(mu, total_count\) is no parametrisation; those known are \(mu, phi\)"),
        ({"mu": "a"}, "mu has the dimensions batch, gene beside those of the samples; at most features are supported"),
        ({"n_cells": None}, "give size_factor=, group= or n_cells="),
        ({"size_factor": "weight"}, "constant_data of the DataTree has no variable 'weight'; there is: batch_of"),
        ({"group": ["x", "q"], "alpha": "a"}, "group 'q' was not fitted"),
        ({"sample_dims": ("sample",)}, "no sample dimensions sample, it has chain, draw, gene, batch"),
        ({"mu": "text"}, "mu holds <U1, not numbers"),
        ({"mu": "negative"}, r"mu must be finite and at least 0: 4 of 4 values are not"),
        ({"phi": "long"}, "different numbers of features"),
        ({"mu": lambda _: MU}, r"mu is of type ndarray and shape \(2, 5, 4\); a function returns a DataArray or a num"),
        ({"mu": lambda draws: draws}, "mu is of type Dataset; a function returns a DataArray or a number"),
        ({"mu": lambda _: None}, "mu is of type NoneType; a function returns a DataArray or a number"),
        ({"mu": lambda draws: draws["mean"]}, r"mu: its function failed \(KeyError: .*; the posterior has a, long, m"),
        ({"mu": lambda draws: draws.mean_}, "mu: its function failed .AttributeError: .*; the posterior has a, long"),
        ({"mu": lambda draws: draws.m[[0, 0]]}, "mu: its function returns 2 of 1 along 'draw'; keep them all"),
        ({"mu": [1.0]}, "mu is of type list; give a variable, or a number"),
        ({"phi": -1.0}, r"phi must be .*4 of 4 values are not"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], message: str) -> None:
    data = tree(
        text=(("chain", "draw"), np.full((CHAINS, DRAWS), "x")),
        negative=(("chain", "draw", "gene"), -MU),
        long=(("chain", "draw", "other"), np.ones((CHAINS, DRAWS, T + 1))),
    )
    given = {"mu": "m", "phi": "r", "n_cells": 2} | changes
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.from_arviz(data, **{name: value for name, value in given.items() if value is not None})
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PosteriorError, match="there is no such file"):
        Posterior.from_arviz(tmp_path / "no.nc", mu="m", phi="r")
    (tmp_path / "bad.nc").write_bytes(b"neither")
    with pytest.raises(PosteriorError, match="can't be read as netCDF or Zarr"):
        Posterior.from_arviz(tmp_path / "bad.nc", mu="m", phi="r")
    xarray.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(PosteriorError, match="has no group 'posterior'"):
        Posterior.from_arviz(tmp_path / "other.nc", mu="m", phi="r")
