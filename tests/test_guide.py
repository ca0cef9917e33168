"""Each route of the guide, in less than 15 lines, as it stands there."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import anndata
import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray
from pyro.infer.autoguide import AutoNormal
from typer.testing import CliRunner

import streamsample as ss
from streamsample.cli import app

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", GUIDE, re.DOTALL)
N, GENES = 50, ["STAT1", "CD86", "JAK2"]
RNG = np.random.default_rng(0)
TREATED, DEPTH = np.arange(N) % 2, RNG.lognormal(0.0, 0.4, N)
SEEN = RNG.poisson(DEPTH[:, None] * np.array([0.5, 3.0, 30.0])).astype(float)


def regression(treated: torch.Tensor, depth: torch.Tensor, y: torch.Tensor | None = None) -> None:
    with pyro.plate("genes", 3, dim=-1):
        base, effect = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in ("base", "effect"))
        phi = pyro.sample("phi", dist.LogNormal(0.0, 1.0))
        with pyro.plate("cells", N, dim=-2):
            mean = torch.exp(base + effect * treated[:, None]) * depth[:, None]
            pyro.sample("y", dist.NegativeBinomial(phi, logits=mean.log() - phi.log()), obs=y)


DOSE = RNG.uniform(0.0, 2.0, N)


def dropout(dose: torch.Tensor) -> None:
    with pyro.plate("genes", 3, dim=-1):
        base, slope = (pyro.sample(name, dist.Normal(0.0, 0.5)) for name in ("base", "slope"))
        phi, gate = pyro.sample("phi", dist.LogNormal(0.0, 1.0)), pyro.sample("gate", dist.Beta(2.0, 2.0))
        with pyro.plate("cells", N, dim=-2):
            logits = base + slope * dose[:, None] - phi.log()
            pyro.sample("y", dist.ZeroInflatedNegativeBinomial(phi, logits=logits, gate=gate))


class Mcmc:
    """Draws as NumPyro hands them over."""

    def get_samples(self, group_by_chain: bool) -> dict[str, Any]:
        assert group_by_chain
        return {name: RNG.gamma(2.0, 1.0, (2, 10, 3)) for name in ("mean", "concentration")}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples start from: files in the working folder, and names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matplotlib.style, "core", matplotlib.style, raising=False)  # see test_views
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    warnings.filterwarnings("ignore", r"\*c\* argument looks like a single numeric RGB")
    mpl.use("agg")
    import arviz_base
    import arviz_plots

    cells = [str(n) for n in range(N)]
    obs = pd.DataFrame({"lane": np.array(["a", "b"])[TREATED]}, index=cells)
    obs["depth"], obs["dose"], obs["intercept"] = DEPTH, DOSE, 1.0
    anndata.AnnData(RNG.poisson(3.0, (N, 3)).astype("f4"), obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(
        "observed.h5ad"
    )
    draws = (("chain", "draw", "gene"), RNG.gamma(2.0, 1.0, (2, 10, 3)))
    groups = {
        "posterior": xarray.Dataset({"mu": draws, "alpha": draws}, {"gene": GENES}),
        "constant_data": xarray.Dataset({"depth": ("cell", DEPTH)}),
    }
    xarray.DataTree.from_dict(groups).to_netcdf("fit.nc", engine="h5netcdf")
    coefficients = (("chain", "draw", "covariate", "gene"), RNG.normal(0.0, 0.3, (2, 10, 2, 3)))
    given = (("cell", "covariate"), np.stack([np.ones(N), DOSE], axis=1))
    groups = {
        "posterior": xarray.Dataset(
            {"alpha": draws, "b": coefficients, "psi": (("chain", "draw"), RNG.uniform(size=(2, 10)))},
            {"gene": GENES, "covariate": ["intercept", "dose"]},
        ),
        "constant_data": xarray.Dataset({"X": given}, {"cell": cells, "covariate": ["intercept", "dose"]}),
    }
    xarray.DataTree.from_dict(groups).to_netcdf("regression.nc", engine="h5netcdf")
    tensors = {"mu_ntc": torch.rand(5, 3), "o_y": torch.rand(5, 3) + 0.5, "alpha_y": torch.ones(5, 2, 3)}
    torch.save(tensors, "posterior_samples_technical_gene.pt")
    pyro.set_rng_seed(0)
    with pyro.get_param_store().scope():
        guides = [AutoNormal(pyro.poutine.block(model, hide=["y"])) for model in (regression, dropout)]
        return {
            "ss": ss, "np": np, "torch": torch, "xarray": xarray, "arviz_base": arviz_base, "arviz_plots": arviz_plots,
            "model": regression, "guide": guides[0], "dropout_model": dropout, "dropout_guide": guides[1],
            "dose": torch.tensor(DOSE), "treated": torch.tensor(TREATED), "depth": torch.tensor(DEPTH),
            "counts_seen": torch.tensor(SEEN),
            "mcmc": Mcmc(), "mu": RNG.gamma(2.0, 1.0, (100, 3)), "phi": np.ones((100, 3)),
        }  # fmt: skip


def run(language: str, block: str, names: dict[str, Any]) -> None:
    """Run one example."""
    if language == "python":
        exec(compile(block, "guide.md", "exec"), names)
        return
    for line in block.splitlines():
        command, *arguments = shlex.split(line)
        assert command == "streamsample"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_guide_runs_from_top_to_bottom(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for language, block in BLOCKS:
        run(language, block, names)
    mpl.pyplot.close("all")
    stream = names["stream"]
    assert capsys.readouterr().out.startswith("(20, 50, 3) uint")
    np.testing.assert_array_equal(names["block"], stream[3, 10:20, ::2])
    np.testing.assert_array_equal(names["genes"], stream[:, :, [0, 2]])
    np.testing.assert_allclose(names["stat1"], stream[:, :, 0].mean(axis=0))
    np.testing.assert_array_equal(names["total"], stream[:].sum(axis=2))
    assert list(names["table"].layers) == ["ppc_0", "ppc_7"]
    assert np.load("ppc.npy").shape == (10, 50, 3)
    saved = ss.CountStream(ss.Posterior.open("posterior.h5"), seed=0)
    assert int(names["jak2"]) == saved.sel(feature="JAK2").max()
    np.testing.assert_array_equal(names["same"][:], saved[:])
    assert ss.Posterior.open("imported.h5").digest() == names["posterior"].digest()
    assert ss.Posterior.open("technical.h5").facts.ngroups == 2
    sampled = names["sampled"].read(np.arange(20))
    assert sampled.alpha.shape == (20, 2, 3)
    np.testing.assert_allclose(np.median(sampled.mu, axis=0), [0.5, 3.0, 30.0], rtol=0.8)
    assert names["after"].shape == (100, 50, 3)
    assert names["regression"].facts.covariate_names.tolist() == ["intercept", "dose"]
    assert ss.Posterior.open("regression.h5").digest() == names["of_pymc"].digest()
    for other in (names["others"], ss.Posterior.open("others.h5")):
        np.testing.assert_allclose(other.cells.design.to_array()[:, 1], DOSE)


@pytest.mark.parametrize("block", [block for _, block in BLOCKS])
def test_a_route_has_less_than_15_lines(block: str) -> None:
    assert len(block.strip().splitlines()) < 15


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", GUIDE))
def test_links_lead_somewhere(target: str) -> None:
    assert (Path(__file__).parents[1] / "docs" / target).exists()


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([^)]+)\)", GUIDE))
def test_anchors_are_there(anchor: str) -> None:
    headings = [line.lstrip("# ").lower().replace(" ", "-") for line in GUIDE.splitlines() if line.startswith("#")]
    assert anchor in headings
