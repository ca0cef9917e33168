"""Coefficients, designs and zero inflation of other libraries, and designs in other tools' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import xarray
from scipy import sparse
from scipy.special import logit
from typer.testing import CliRunner

import streamsample as ss
from streamsample.cli import app
from streamsample.errors import DataError, PosteriorError
from streamsample.posterior import Posterior
from tests.posteriors import listed

CHAINS, DRAWS, K, T, N = 2, 3, 3, 4, 9
RNG = np.random.default_rng(0)
BETA = RNG.normal(0.0, 0.3, (CHAINS, DRAWS, K, T))
MU, PHI = RNG.gamma(2.0, 1.0, (2, CHAINS, DRAWS, T))
PI = RNG.uniform(0.05, 0.9, (CHAINS, DRAWS, T))
DESIGN = RNG.normal(size=(N, K)).round(3)
GENES, COVARIATES, CELLS = list("abcd"), ["age", "dose", "late"], [f"cell{n}" for n in range(N)]
DRAW = ("chain", "draw")
EXPECTED = Posterior.from_arrays(
    MU.reshape(-1, T), PHI.reshape(-1, T), zero_inflation=PI.reshape(-1, T), beta=BETA.reshape(-1, K, T),
    design=DESIGN, feature_names=GENES, covariate_names=COVARIATES, cell_names=CELLS, size_factor=np.ones(N),
)  # fmt: skip


def tree(order: list[int] | None = None) -> xarray.DataTree:
    """A posterior with a design in constant_data, its columns in some order."""
    columns = list(range(K)) if order is None else order
    data = {
        "m": ((*DRAW, "gene"), MU), "r": ((*DRAW, "gene"), PHI), "pi": ((*DRAW, "gene"), PI),
        "b": ((*DRAW, "covariate", "gene"), BETA),
    }  # fmt: skip
    given = {"x": (("cell", "column"), DESIGN[:, columns]), "depth": ("cell", np.ones(N))}
    named = {"cell": CELLS, "column": np.array(COVARIATES)[columns]}
    return xarray.DataTree.from_dict(
        {
            "posterior": xarray.Dataset(data, {"gene": GENES, "covariate": COVARIATES}),
            "constant_data": xarray.Dataset(given, named),
        }
    )


GIVEN: dict[str, Any] = {"mu": "m", "phi": "r", "zero_inflation": "pi", "beta": "b", "size_factor": "depth"}


@pytest.mark.parametrize("order", [None, [2, 0, 1]])
def test_a_design_is_joined_by_the_names_of_its_columns(order: list[int] | None, tmp_path: Path) -> None:
    found = Posterior.from_arviz(tree(order), **GIVEN, design="x")
    assert found.facts.stream_version == 2
    assert found.digest() == EXPECTED.digest()
    tree(order).to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    assert Posterior.from_arviz(tmp_path / "fit.nc", **GIVEN, design="x").digest() == EXPECTED.digest()
    block = found.read(np.array([4, 1]), np.array([3, 0]))
    assert block.beta is not None
    np.testing.assert_array_equal(block.beta, BETA.reshape(-1, K, T)[[4, 1]][..., [3, 0]])
    assert all(array.flags.c_contiguous for array in block.arrays)


FRAME = pd.DataFrame(DESIGN[:, [1, 2, 0]], columns=["dose", "late", "age"])


@pytest.mark.parametrize("design", [DESIGN, DESIGN.tolist(), sparse.csr_matrix(DESIGN), FRAME], ids=type)
def test_a_design_may_be_given_as_it_is(design: Any) -> None:
    found = Posterior.from_arviz(tree(), **GIVEN | {"size_factor": None}, design=design)
    assert found.shape == (CHAINS * DRAWS, N, T)
    ours, theirs = (ss.CountStream(posterior, seed=2)[:] for posterior in (found, EXPECTED))
    np.testing.assert_array_equal(ours, theirs)


def test_made_up_dimensions_a_transposed_design_and_names_of_the_design_alone() -> None:
    draws = xarray.Dataset(
        {"r": ((*DRAW, "r_dim_0"), PHI), "b": ((*DRAW, "b_dim_0", "b_dim_1"), BETA)}, {"b_dim_0": range(K)}
    )
    x = xarray.DataArray(DESIGN.T, dims=("b_dim_0", "x_dim_0"), name="x")
    made = xarray.DataTree.from_dict({"posterior": draws, "constant_data": x.to_dataset()})
    plain = Posterior.from_arviz(made, phi="r", beta="b", design="x")  # no mean: an intercept would be in beta
    np.testing.assert_array_equal(plain.read(np.array([1])).mu, np.ones((1, T)))
    assert plain.cells.design is not None
    np.testing.assert_array_equal(plain.cells.design.to_array(), DESIGN)
    assert plain.facts.covariate_names is None
    named = Posterior.from_arviz(made, phi="r", beta="b", design=pd.DataFrame(DESIGN, columns=COVARIATES))
    assert listed(named.facts.covariate_names) == COVARIATES


def test_coefficients_that_are_the_same_for_all_features() -> None:
    draws = tree().posterior.to_dataset().assign(b=((*DRAW, "covariate"), BETA[..., 0]))
    found = Posterior.from_arviz(draws, mu="m", phi="r", beta="b", design=DESIGN).read(np.array([5])).beta
    assert found is not None
    np.testing.assert_array_equal(found[0], np.broadcast_to(BETA[1, 2, :, :1], (K, T)))


WAYS = {
    "zero_inflation": PI, "gate": PI, "zi_probs": PI, "gate_logits": logit(PI), "zi_logits": logit(PI), "psi": 1 - PI,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_tell_zero_inflation_means_the_same(way: str) -> None:
    draws = xarray.Dataset({"m": ((*DRAW, "gene"), MU), "told": ((*DRAW, "gene"), WAYS[way])})
    found = Posterior.from_arviz(draws, mu="m", phi="m", n_cells=2, **{way: "told"})
    assert found.facts.zero_inflated
    np.testing.assert_allclose(found.read(np.array([4])).zero_inflation, PI[1, 1][None], rtol=1e-13)


def test_zero_inflation_that_is_the_same_for_all_features() -> None:
    draws = tree().posterior.to_dataset().assign(gate=(DRAW, PI[..., 0]))
    found = Posterior.from_arviz(draws, mu="m", phi="r", gate="gate", n_cells=2).read(np.array([4])).zero_inflation
    np.testing.assert_allclose(found, np.full((1, T), PI[1, 1, 0]), rtol=1e-13)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": "pi"}, "zero inflation is given as zero_inflation and gate; give one"),
        ({"design": None}, r"beta has 3 covariates but these cells have no design; give design="),
        ({"beta": None}, r"a design of shape \(9, 3\) is given but no beta"),
        ({"design": "y"}, "design: constant_data of the DataTree has no variable 'y'; there is: depth, x"),
        ({"design": "depth"}, r"design has shape \(9,\); it needs 2 axes"),
        ({"design": DESIGN[:5]}, r"design has shape \(5, 3\); it needs \(9, 3\)"),
        ({"design": FRAME.drop(columns="dose")}, "design has no column 'dose'"),
        ({"zero_inflation": "b"}, "zero_inflation has the dimensions covariate, gene beside .* not between cells"),
        ({"zero_inflation": "m"}, r"zero_inflation must be in \[0, 1\]"),
        ({"mu": None, "beta": None, "design": None}, r"\(phi\) is no parametrisation"),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], message: str) -> None:
    given = {name: value for name, value in (GIVEN | {"design": "x"} | changes).items() if value is not None}
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.from_arviz(tree(), **given)
    assert "\n" not in str(error.value)


# -- AnnData


@pytest.fixture
def table() -> anndata.AnnData:
    """The cells in another order, their covariates in `obs`, and in `obsm` as a frame, an array and a sparse matrix."""
    order = np.arange(N)[::-1]
    obs = pd.DataFrame(DESIGN[order], columns=COVARIATES, index=[CELLS[n] for n in order])
    obs["depth"], obs["kind"] = 1.0, pd.Categorical(list("abc") * 3)
    obsm = {"frame": FRAME.iloc[order].set_index(obs.index), "plain": DESIGN[order]}
    obsm["sparse"] = sparse.csr_matrix(DESIGN[order])
    return anndata.AnnData(np.ones((N, T), dtype="f4"), obs=obs, var=pd.DataFrame(index=GENES), obsm=obsm)


@pytest.mark.parametrize("design", ["frame", "plain", "sparse", COVARIATES[::-1], None])
@pytest.mark.parametrize("kind", ["object", "file"])
def test_other_cells_have_their_design_in_obsm_or_obs(
    table: anndata.AnnData, tmp_path: Path, design: Any, kind: str
) -> None:
    source: Any = table
    if kind == "file":
        source = tmp_path / "X.h5ad"
        table.write_h5ad(source)
    found = EXPECTED.for_cells(source, design=design, sum_factor_key="depth")
    assert listed(found.cells.names) == CELLS[::-1]
    assert found.cells.design is not None
    np.testing.assert_array_equal(found.cells.design.to_array(), DESIGN[::-1])


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ("other", "neither obsm nor obs has 'other'; obsm has: frame, plain, sparse; obs has: age, dose, late, depth"),
        (["age", "other"], "obs has no column 'other'; there are: age"),
        (["age", "depth"], "design has no column 'dose'"),
        ("kind", "design holds .*, not numbers; categories become columns of 0 and 1"),
    ],
)
def test_a_design_that_is_not_there_is_one_line(table: anndata.AnnData, design: Any, message: str) -> None:
    with pytest.raises((DataError, PosteriorError), match=message):
        EXPECTED.for_cells(table, design=design, sum_factor_key="depth")


def test_cells_without_the_covariates_are_told_what_is_missing(table: anndata.AnnData) -> None:
    del table.obs["late"]
    with pytest.raises(PosteriorError, match="beta has 3 covariates but these cells have no design; give design="):
        EXPECTED.for_cells(table, sum_factor_key="depth")


@pytest.mark.parametrize("ncovariates", [K, 70])
def test_views_carry_the_design(ncovariates: int) -> None:
    """70 columns are kept sparse."""
    design = np.zeros((N, ncovariates))
    design[:, [0, -1]] = DESIGN[:, :2]
    names = [f"k{k}" for k in range(ncovariates)]
    posterior = Posterior.from_arrays(
        np.ones((2, T)), np.ones((2, T)), beta=np.zeros((2, ncovariates, T)), design=design, covariate_names=names
    )
    stream = ss.CountStream(posterior).select(cells=[5, 2, 7])
    tree = stream.to_datatree()
    view = tree["constant_data"]["design"]
    assert view.dims == ("cell", "covariate")
    np.testing.assert_array_equal(view, design[[5, 2, 7]])
    np.testing.assert_array_equal(view.sel(covariate="k0"), DESIGN[[5, 2, 7], 0])
    np.testing.assert_array_equal(view[1], design[2])
    found = stream.to_anndata([0])
    again = posterior.for_cells(np.ones(3), design=found.obsm["design"])
    assert again.cells.design is not None
    np.testing.assert_array_equal(again.cells.design.to_array(), design[[5, 2, 7]])


# -- the command line


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_import_takes_coefficients_and_zero_inflation(table: anndata.AnnData, tmp_path: Path) -> None:
    fit, out, cells = (tmp_path / name for name in ("fit.nc", "p.h5", "X.h5ad"))
    tree([1, 0, 2]).to_netcdf(fit, engine="h5netcdf")
    draws = ("--mu", "m", "--phi", "r", "--zero-inflation", "pi", "--beta", "b")
    told = run("import", fit, "-o", out, *draws, "--design", "x", "--size-factor", "depth")
    assert told.exit_code == 0, told.output
    assert Posterior.open(out).digest() == EXPECTED.digest()
    table.write_h5ad(cells)
    for design in (("--design", "plain"), [word for name in COVARIATES for word in ("--design", name)], ()):
        told = run("import", fit, "-o", out, *draws, "--for-cells", cells, *design, "--overwrite")
        assert told.exit_code == 0, told.output
        found = Posterior.open(out).cells.design
        assert found is not None
        np.testing.assert_array_equal(found.to_array(), DESIGN[::-1])
    told = run("import", fit, "-o", tmp_path / "q.h5", *draws, "--design", "x", "--design", "y")
    assert told.exit_code == 2
    assert "--design is one variable of constant_data" in told.stderr
