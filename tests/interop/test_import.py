"""Posteriors of other programs through the command line: saved tensors, and files in ArviZ's layout."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray
from typer.testing import CliRunner

from streamsample.cli import app
from streamsample.errors import PosteriorError
from streamsample.interop.torch_file import read_torch
from streamsample.posterior import Posterior
from tests.posteriors import listed

S, C, T, N = 6, 3, 5, 12
RNG = np.random.default_rng(0)
MU, OVER = RNG.gamma(2.0, 1.0, (S, T)).astype("f4"), RNG.uniform(0.3, 1.5, (S, T)).astype("f4")
ALPHA = RNG.lognormal(0.0, 0.3, (S, C, T)).astype("f4")
GENES, LANES = [f"gene{t}" for t in range(T)], np.array(["a", "b", "c"])[np.arange(N) % C]
COUNTS = RNG.poisson(3.0, (N, T + 1))


@pytest.fixture
def tensors() -> dict[str, Any]:
    return {
        "mu_ntc": torch.tensor(MU)[:, None],
        "o_y": torch.tensor(OVER)[:, None],
        "alpha_y": torch.tensor(ALPHA),
        "beta_o": torch.ones(S),
    }


@pytest.fixture
def h5ad(tmp_path: Path) -> Path:
    """The fit's cells; its genes in another order, and one more."""
    obs = pd.DataFrame({"lane": LANES, "depth": np.arange(1.0, N + 1)}, index=[f"cell{n}" for n in range(N)])
    var = pd.DataFrame(index=["MYC", *GENES[::-1]])
    path = tmp_path / "X.h5ad"
    anndata.AnnData(COUNTS.astype("f4"), obs=obs, var=var).write_h5ad(path)
    return path


def saved(tensors: dict[str, Any], folder: Path, **beside: Any) -> Path:
    path = folder / "posterior_samples_technical_gene.pt"
    torch.save({"posterior_samples": tensors, **beside} if beside else tensors, path)
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str | Path, code: int = 1) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.stderr.split())


def test_tensors_become_a_posterior(tensors: dict[str, Any], h5ad: Path, tmp_path: Path) -> None:
    beside = {"distribution": "negbinom", "loss": np.arange(2.0), "best": np.float64(1)}
    path = saved(tensors, tmp_path, feature_names=np.array(GENES), **beside)
    printed = run("import", path, "-o", tmp_path / "p.h5", "--for-cells", h5ad, "--group-key", "lane")
    assert "6 samples, 12 cells, 5 features in 3 groups" in printed
    found = Posterior.open(tmp_path / "p.h5")
    block = found.read(np.arange(S))
    np.testing.assert_array_equal(block.mu, MU)
    np.testing.assert_array_equal(block.phi, 1 / (OVER * OVER))
    np.testing.assert_array_equal(block.alpha, ALPHA)
    assert listed(found.facts.feature_names) == GENES
    assert listed(found.facts.group_names) == ["a", "b", "c"]
    assert found.cells.group.tolist() == [n % C for n in range(N)]
    total = COUNTS[:, 1:].sum(axis=1)
    np.testing.assert_allclose(found.cells.size_factor, total / total.mean())
    again = found.for_cells(h5ad)  # the file says how its cells were described
    np.testing.assert_allclose(again.cells.size_factor, found.cells.size_factor)
    np.testing.assert_array_equal(again.cells.group, found.cells.group)


def test_phi_comes_before_o_and_alpha_mult_before_alpha(tensors: dict[str, Any], tmp_path: Path) -> None:
    more = {"phi_y": torch.tensor(OVER), "alpha_y_mult": torch.tensor(2 * ALPHA)}
    block = read_torch(saved(tensors | more, tmp_path), n_cells=2).read(np.array([1]))
    np.testing.assert_array_equal(block.phi[0], OVER[1])
    np.testing.assert_array_equal(block.alpha[0], 2 * ALPHA[1])


def test_without_alpha_there_is_one_group(tensors: dict[str, Any], h5ad: Path, tmp_path: Path) -> None:
    del tensors["alpha_y"]
    path = saved(tensors, tmp_path, feature_names=GENES)
    found = read_torch(path, h5ad, sum_factor_key="depth")
    assert found.facts.ngroups == 1
    assert found.cells.size_factor.tolist() == list(range(1, N + 1))


def test_features_with_nan_are_listed_and_left_out(
    tensors: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors["mu_ntc"][2, 0, 1] = tensors["alpha_y"][0, 2, 4] = float("nan")
    with caplog.at_level(logging.WARNING):
        found = read_torch(saved(tensors, tmp_path, feature_names=GENES), n_cells=3)
    assert "2 of 5 features have NaN and are left out, their counts are 0: gene1, gene4" in caplog.text
    assert found.fitted.tolist() == [True, False, True, True, False]
    assert "Posterior.fitted (in the file: fitted) is False for each" in caplog.text
    found.check()
    assert (found.read(np.arange(S)).mu[:, [1, 4]] == 0).all()
    found.save(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["fitted"][:].tolist() == [True, False, True, True, False]


@pytest.mark.parametrize(
    "kind",
    [
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: torch.nn.Parameter(torch.tensor(x)),
        lambda x: torch.tensor(x, dtype=torch.float16),
        lambda x: torch.tensor(x, dtype=torch.bfloat16, requires_grad=True),
        lambda x: x,
        lambda x: x.astype("f8"),
        lambda x: x.astype("f2"),
    ],
    ids=["gradient", "parameter", "half", "bfloat16", "array", "float64", "half array"],
)
def test_tensors_and_arrays_of_every_kind_are_read(kind: Any, tmp_path: Path) -> None:
    given = {name: kind(value) for name, value in {"mu_ntc": MU, "o_y": OVER, "alpha_y": ALPHA}.items()}
    block = read_torch(saved(given, tmp_path), n_cells=1).read(np.arange(S))
    for found, expected in ((block.mu, MU), (block.phi, 1 / (OVER * OVER)), (block.alpha, ALPHA)):
        np.testing.assert_allclose(found, expected, rtol=0.02)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_to_run_code_is_refused(tensors: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tensors | {"extra": Evil(tmp_path / "ran")}, tmp_path)
    line = refused("import", path, "-o", tmp_path / "p.h5", "--n-cells", "3")
    assert "could run code when it is read, so it is refused" in line
    assert "mkdir" in line
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # the file is what it is taken for


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("mu_ntc"), "has no tensor mu_ntc; it holds o_y, alpha_y, beta_o"),
        (lambda t: t.pop("o_y"), "has no tensor phi_y or o_y"),
        (lambda t: t.update(o_y=torch.ones(S, T + 1)), r"are not \[S, T\], \[S, T\] and \[S, C, T\]"),
        (lambda t: t.update(mu_ntc=torch.ones(S, 2, T)), r"mu_ntc has shape \(6, 2, 5\), it needs \[S, T\]"),
    ],
)
def test_tensors_that_do_not_fit_are_one_line(
    tensors: dict[str, Any], change: Any, message: str, tmp_path: Path
) -> None:
    change(tensors)
    with pytest.raises(PosteriorError, match=message):
        read_torch(saved(tensors, tmp_path), n_cells=1)


def test_cells_that_do_not_fit_are_one_line(tensors: dict[str, Any], h5ad: Path, tmp_path: Path) -> None:
    path, out = saved(tensors, tmp_path), tmp_path / "p.h5"
    assert "give --for-cells or --n-cells" in refused("import", path, "-o", out)
    assert "the draws are of 5 features without names" in refused("import", path, "-o", out, "--for-cells", h5ad)
    path = saved(tensors, tmp_path, feature_names=GENES)
    assert "the draws have 3 groups; give --group-key" in refused("import", path, "-o", out, "--for-cells", h5ad)
    line = refused("import", path, "-o", out, "--for-cells", h5ad, "--group-key", "depth")
    assert "has 12 groups by depth" in line
    (tmp_path / "bad.pt").write_bytes(b"no torch file")
    assert "is no file of torch.save" in refused("import", tmp_path / "bad.pt", "-o", out)
    assert "there is no such file" in refused("import", tmp_path / "no.pt", "-o", out)
    assert not out.exists()


# -- ArviZ's layout


@pytest.fixture
def idata(tmp_path: Path) -> Path:
    """Two chains, with dispersions, in a file."""
    dims = ("chain", "draw", "gene")
    data = {
        "m": (dims, MU.reshape(2, 3, T)),
        "o": (dims, OVER.reshape(2, 3, T)),
        "k": (dims, 1 / OVER.reshape(2, 3, T)),
    }
    data["by_lane"] = (("chain", "draw", "lane", "gene"), ALPHA.reshape(2, 3, C, T))  # type: ignore[assignment]
    groups = {
        "posterior": xarray.Dataset(data, {"gene": GENES}),
        "constant_data": xarray.Dataset({"depth": ("cell", np.arange(1.0, 9.0))}),
    }
    path = tmp_path / "idata.nc"
    xarray.DataTree.from_dict(groups).to_netcdf(path, engine="h5netcdf")
    return path


def test_idata_becomes_a_posterior(idata: Path, tmp_path: Path) -> None:
    run("import", idata, "-o", tmp_path / "p.h5", "--mu", "m", "--phi", "k", "--size-factor", "depth")
    found = Posterior.open(tmp_path / "p.h5")
    assert found.shape == (S, 8, T)
    np.testing.assert_array_equal(found.read(np.arange(S)).mu, MU)
    run("import", idata, "-o", tmp_path / "q.h5", "--parameter", "mean=m", "--parameter", "dispersion=o", "--n-cells=8")
    np.testing.assert_allclose(Posterior.open(tmp_path / "q.h5").read(np.arange(S)).phi, 1 / OVER, rtol=1e-6)


def test_numbers_and_poisson_counts_are_imported(idata: Path, tmp_path: Path) -> None:
    run("import", idata, "-o", tmp_path / "p.h5", "--parameter", "rate=m", "--n-cells", "8")
    run("import", idata, "-o", tmp_path / "q.h5", "--mu", "m", "--phi", "inf", "--zero-inflation", "0.5", "--n-cells=8")
    poisson, inflated = Posterior.open(tmp_path / "p.h5"), Posterior.open(tmp_path / "q.h5")
    for found in (poisson, inflated):
        assert np.isposinf(found.read(np.arange(S)).phi).all()
        np.testing.assert_array_equal(found.read(np.arange(S)).mu, MU)
    np.testing.assert_array_equal(inflated.read(np.arange(S)).zero_inflation, np.full((S, T), 0.5))


def test_idata_for_the_cells_of_an_anndata(idata: Path, h5ad: Path, tmp_path: Path) -> None:
    draws = ("--mu", "m", "--phi", "k", "--alpha", "by_lane")
    cells = ("--for-cells", h5ad, "--group-key", "lane", "--sum-factor-key", "depth")
    run("import", idata, "-o", tmp_path / "p.h5", *draws, *cells)
    found = Posterior.open(tmp_path / "p.h5")
    assert found.cells.size_factor.tolist() == list(range(1, N + 1))
    assert listed(found.facts.group_names) == ["a", "b", "c"]
    np.testing.assert_array_equal(found.read(np.arange(S)).alpha, ALPHA)


def test_import_refuses_what_makes_no_sense(idata: Path, tensors: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "p.h5"
    assert "--parameter r is not NAME=VARIABLE" in refused("import", idata, "-o", out, "--parameter", "r", code=2)
    line = refused("import", saved(tensors, tmp_path), "-o", out, "--mu", "m", code=2)
    assert "a .pt has names of its own" in line
    assert "give --size-factor, --group or --n-cells" in refused("import", idata, "-o", out, "--mu", "m", "--phi", "k")
    out.write_text("mine")
    assert "give --overwrite" in refused("import", idata, "-o", out, "--mu", "m", "--phi", "k")
    assert out.read_text() == "mine"
