"""Stream version 2 from a posterior to checked files, and how it is told apart from version 1."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import streamsample as ss
from streamsample.budget import Budget
from streamsample.cli import app
from streamsample.errors import Interrupted, PosteriorError, StoreError
from streamsample.planner import plan
from streamsample.posterior import Posterior
from streamsample.run import sample
from streamsample.stopping import Stopper
from streamsample.stores import describe, describe_unfinished
from streamsample.stream import CountStream
from streamsample.units import GIB
from streamsample.verifier import verify
from streamsample.virtual import open_virtual, save_virtual
from tests import reference_2
from tests.posteriors import arrays, names, second

SHAPE = (4, 26, 9)
BUDGET = Budget(16 * GIB, 2)


def posterior(**changes: Any) -> Posterior:
    return Posterior.from_arrays(**second(SHAPE) | names(SHAPE) | {"covariate_names": ["dose", "age", "β"]} | changes)


def expected(seed: int) -> Any:
    return reference_2.counts(seed, second(SHAPE), [range(size) for size in SHAPE])  # type: ignore[arg-type]


def ran(*arguments: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_a_file_holds_the_definitions_counts(tmp_path: Path, suffix: str) -> None:
    stream, path = CountStream(posterior(), seed=3), tmp_path / f"counts{suffix}"
    made = replace(plan(stream, path, budget=BUDGET), minibatch=3, slab_samples=1, slab_cells=12)
    sample(stream, path, plan=made)
    np.testing.assert_array_equal(ss.open(path)[:], expected(3))
    assert describe(path).stream_version == 2
    assert verify(path, posterior(), full=True).counts_compared == int(np.prod(SHAPE))


def test_the_posteriors_own_version_is_asked_for(tmp_path: Path) -> None:
    first = Posterior.from_arrays(**arrays(SHAPE) | names(SHAPE))
    path = sample(CountStream(posterior(), seed=3), tmp_path / "counts.npy")
    with pytest.raises(PosteriorError, match="follows stream version 2 but this posterior's counts follow version 1"):
        verify(path, first)
    other = sample(CountStream(first, seed=3), tmp_path / "first.npy")
    assert describe(other).stream_version == 1
    with pytest.raises(PosteriorError, match="follows stream version 1 but this posterior's counts follow version 2"):
        verify(other, posterior())


class StopsAfterOne(Stopper):
    """Lets one slab be written."""

    slabs = 0

    def reason(self, seconds: float) -> str | None:
        self.slabs += 1
        return "a test" if self.slabs > 1 and seconds >= 0 else None


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    stream = CountStream(posterior(), seed=3)
    made = replace(plan(stream, path, budget=BUDGET), minibatch=1, slab_samples=1)
    with pytest.raises(Interrupted):
        sample(stream, path, plan=made, stopper=StopsAfterOne())
    found = describe_unfinished(path)
    assert found is not None
    assert found.stream_version == 2
    first = Posterior.from_arrays(**arrays(SHAPE) | names(SHAPE))
    with pytest.raises(StoreError, match="stream_version is 2 there and 1 here") as error:
        sample(CountStream(first, seed=3), path, resume=True)
    assert "\n" not in str(error.value)
    sample(stream, path, resume=True)
    np.testing.assert_array_equal(ss.open(path)[:], expected(3))


def test_a_virtual_dataset_tells_its_version(tmp_path: Path) -> None:
    path = tmp_path / "counts.h5"
    save_virtual(CountStream(posterior(), seed=3), path)
    np.testing.assert_array_equal(open_virtual(path)[:], expected(3))
    assert json.loads(ran("info", path, "--json").stdout)["stream_version"] == 2
    with h5py.File(path, "r+") as file:
        assert file["stream"].attrs["stream_version"] == 2
        file["stream"].attrs["stream_version"] = 1
    with pytest.raises(StoreError, match="stream version 1, but its draws are of version 2: they were changed"):
        open_virtual(path)


def test_the_command_line_takes_it_as_any_other(tmp_path: Path) -> None:
    posterior().save(tmp_path / "posterior.h5")
    facts = json.loads(ran("info", tmp_path / "posterior.h5", "--json").stdout)
    assert facts["covariates"] == 3
    assert facts["covariate_names"] == ["dose", "age", "β"]
    assert facts["zero_inflated"] is True
    assert facts["stream_version"] == 2
    assert "dose, age, β" in ran("info", tmp_path / "posterior.h5").stdout
    planned = ran("plan", tmp_path / "posterior.h5", "-o", tmp_path / "counts.npy", "--memory", "8G").stdout
    assert "covariates of the slabs' cells" in planned
    ran("sample", tmp_path / "posterior.h5", "-o", tmp_path / "counts.npy", "--seed", "3")
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), expected(3))
    assert json.loads(ran("info", tmp_path / "counts.npy", "--json").stdout)["stream_version"] == 2
    ran("verify", tmp_path / "counts.npy", "--posterior", tmp_path / "posterior.h5", "--full")


@pytest.mark.parametrize(
    "options", [(), ("--design", "X_covariates"), ("--design", "β", *("--design", "dose", "--design", "age"))]
)
def test_other_cells_on_the_command_line(tmp_path: Path, options: tuple[str, ...]) -> None:
    posterior().save(tmp_path / "posterior.h5")
    rng = np.random.default_rng(5)
    design = rng.normal(0, 0.3, (6, 3))
    obs = pd.DataFrame(design, columns=["dose", "age", "β"], index=[f"new{n}" for n in range(6)])
    obs["depth"], obs["rep"] = rng.lognormal(0, 0.3, 6), pd.Categorical(["rep_0", "rep_1"] * 3)
    var = pd.DataFrame(index=names(SHAPE)["feature_names"])
    cells = anndata.AnnData(np.zeros((6, SHAPE[2])), obs=obs, var=var, obsm={"X_covariates": design})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    given = "--for-cells", tmp_path / "cells.h5ad", "--group-key", "rep", "--sum-factor-key", "depth", *options
    ran("sample", tmp_path / "posterior.h5", "-o", tmp_path / "counts.npy", *given)
    other = posterior().for_cells(obs["depth"], list(obs["rep"]), obs.index.tolist(), design=design)
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), CountStream(other)[:])
    ran("verify", tmp_path / "counts.npy", "--posterior", tmp_path / "posterior.h5", *given)
    wrong = ran("sample", tmp_path / "posterior.h5", "-o", tmp_path / "c.npy", *given[:6], "--design", "dose", code=1)
    assert "design has no column 'age'" in wrong.stderr


def test_a_mean_outside_the_domain_stops_a_run_with_one_line(tmp_path: Path) -> None:
    design = second(SHAPE)["design"]
    design[7] = 1e3
    posterior(design=design).save(tmp_path / "posterior.h5")
    result = ran("sample", tmp_path / "posterior.h5", "-o", tmp_path / "counts.npy", code=1)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "cell 7" in lines[0]
    assert "must be at most 1e+07" in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["posterior.h5"]


def test_what_is_new_counts_in_the_plan(tmp_path: Path) -> None:
    first = Posterior.from_arrays(**arrays(SHAPE))
    wide = Posterior.from_arrays(**second(SHAPE, 60))
    plain, designed = (plan(CountStream(one), tmp_path / "c.npy", budget=BUDGET) for one in (first, wide))
    before, after = ({q.name: q.nbytes for q in made.quantities} for made in (plain, designed))
    assert after["design"] == 4 * 8 * SHAPE[1] * 60
    assert "design" not in before
    # mu, phi and two of alpha; and then 60 of beta and zero inflation, as stored and as float64
    assert after["minibatch"] - before["minibatch"] == 4 * 61 * 2 * 8 * SHAPE[2]
