"""TechnicalModel: what it takes, what it refuses, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import streamsample
from streamsample.budget import Budget
from streamsample.errors import BudgetError, DataError, FitError
from streamsample.fit import TechnicalModel
from streamsample.fit.likelihood import CountLikelihood
from streamsample.posterior import Posterior
from tests.fit.simulate import Truth

QUICK: dict[str, Any] = {"niters": 3, "nsamples": 10}


@pytest.fixture
def data() -> anndata.AnnData:
    """40 cells in 2 x 2 technical groups; feature "silent" has no count in batch "y"."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (40, 4)) + 1
    batch = np.array(["x"] * 24 + ["y"] * 16)
    counts[24:, 2] = 0
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(batch),
            "lane": ["1", "2"] * 20,
            "kind": ["control"] * 30 + ["other"] * 10,
            "sum_factor": counts.sum(axis=1) / counts.sum(axis=1).mean(),
            "text": "abc",
        },
        index=[f"cell{n}" for n in range(40)],
    )
    names = pd.DataFrame(index=["STAT1", "CD86", "silent", "PDL1"])
    return anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=names)


def test_it_is_public() -> None:
    assert streamsample.TechnicalModel is TechnicalModel


def test_file_and_object_and_arrays_are_alike(data: anndata.AnnData, tmp_path: Path) -> None:
    data.write_h5ad(tmp_path / "counts.h5ad")
    models = [TechnicalModel.from_anndata(source, "batch") for source in (data, tmp_path / "counts.h5ad")]
    models.append(
        TechnicalModel.from_arrays(
            data.X.toarray(),
            np.asarray(data.obs["batch"]),
            sum_factor=data.obs["sum_factor"],
            cell_names=list(data.obs_names),
            feature_names=list(data.var_names),
        )
    )
    posteriors = [model.fit_technical(**QUICK) for model in models]
    assert len({posterior.digest() for posterior in posteriors}) == 1
    assert posteriors[0].facts.group_names is not None
    assert posteriors[0].facts.group_names.tolist() == ["x", "y"]


def test_number_types_and_formats_do_not_matter(truth: Truth) -> None:
    forms = [
        truth.counts,
        truth.counts.astype(np.float64),
        truth.counts.astype(np.uint16),
        sparse.csr_matrix(truth.counts),
        sparse.csc_array(truth.counts.astype(np.float32)),
    ]
    digests = {TechnicalModel.from_arrays(form, truth.group).fit_technical(**QUICK).digest() for form in forms}
    assert len(digests) == 1


def test_the_order_of_cells_does_not_matter_for_the_parameters(truth: Truth) -> None:
    shuffled = np.random.default_rng(0).permutation(truth.group.size)
    fits = [
        TechnicalModel.from_arrays(
            truth.counts[order], truth.group[order], sum_factor=truth.sum_factor[order]
        ).fit_technical(**QUICK)
        for order in (np.arange(truth.group.size), shuffled)
    ]
    a, b = (np.log(fit.read(np.arange(10)).mu) for fit in fits)
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_where_features_reference_and_several_columns(data: anndata.AnnData) -> None:
    model = TechnicalModel.from_anndata(
        data, ["batch", "lane"], reference="x|2", where='kind == "control"', features=["PDL1", "STAT1"]
    )
    assert model.group_names.tolist() == ["x|1", "x|2", "y|1", "y|2"]
    assert model.reference == 1
    assert model.counts.shape == (30, 2)
    assert np.array_equal(model.counts.toarray(), data.X.toarray()[:30][:, [3, 0]])
    assert model.cell_names is not None
    assert model.cell_names[-1] == "cell29"


def test_the_largest_group_is_the_reference(data: anndata.AnnData) -> None:
    assert TechnicalModel.from_anndata(data[10:], "batch").reference == 1
    assert TechnicalModel.from_anndata(data, "batch").reference == 0


def test_integer_groups_keep_their_order() -> None:
    counts, group = np.ones((12, 2)), np.arange(12)
    assert TechnicalModel.from_arrays(counts, group).group.tolist() == list(range(12))


def test_a_silent_feature_is_left_out_and_gives_zeros(data: anndata.AnnData) -> None:
    posterior = TechnicalModel.from_anndata(data, "batch").fit_technical(**QUICK)
    assert posterior.fitted.tolist() == [True, True, False, True]
    block = posterior.read(np.arange(10))
    assert (block.mu[:, 2] == 0).all()
    assert (block.phi[:, 2] == 1).all()
    assert (block.alpha[:, :, 2] == 1).all()
    assert (block.mu[:, [0, 1, 3]] > 0).all()


@pytest.mark.parametrize(("nsilent", "level"), [(1, "INFO"), (6, "WARNING")])
def test_a_loss_of_many_features_is_a_warning(nsilent: int, level: str, caplog: pytest.LogCaptureFixture) -> None:
    counts = np.ones((20, 50))
    counts[:3, 7 : 7 + nsilent] = 0
    TechnicalModel.from_arrays(counts, ["few"] * 3 + ["many"] * 17).fit_technical(**QUICK)
    told = [record for record in caplog.records if "left out of the fit" in record.getMessage()]
    assert [record.levelname for record in told] == [level]
    text = told[0].getMessage()
    assert f"{nsilent} of 50 features ({nsilent / 50:.1%}), '7' first" in text
    reason = "group 'few' (3 of 20 cells) lacks 6 of them: the likely reason is too many groups (2) or too small ones"
    assert (reason in text) is (level == "WARNING")
    assert "\n" not in text


def test_more_than_50_groups_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for ngroups in (50, 51):
        assert "groups of" not in caplog.text
        TechnicalModel.from_arrays(np.ones((102, 2)), np.arange(102) % ngroups).fit_technical(**QUICK)
    assert "there are 51 groups of 2.0 cells in the mean" in caplog.text


def test_a_measurement_is_no_group(data: anndata.AnnData) -> None:
    many = anndata.concat([data, data], index_unique="-")
    many.obs["mito"] = np.linspace(0.5, 20, 80)
    with pytest.raises(DataError, match=r"column 'mito' holds float64 numbers, 80 different ones .* a measurement"):
        TechnicalModel.from_anndata(many, ["batch", "mito"])
    many.obs["number"] = np.floor(many.obs["mito"])
    many.obs["text"] = many.obs["mito"].astype(str)
    assert TechnicalModel.from_anndata(many, "number").group_names.size == 21
    assert TechnicalModel.from_anndata(many, "text").group_names.size == 80


def test_the_representation_is_a_line(data: anndata.AnnData, truth: Truth) -> None:
    model = TechnicalModel.from_anndata(data, ["batch", "lane"])
    assert repr(model) == "<TechnicalModel 40 cells x 4 features, 4 groups by batch, lane, not fitted>"
    model = truth.model()
    model.fit_technical(**QUICK)
    assert repr(model) == "<TechnicalModel 600 cells x 60 features, 3 groups, fitted in 3 steps>"


def test_sum_factors_from_a_column_or_from_totals(data: anndata.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    data.obs["double"] = 2 * data.obs["sum_factor"]
    by_column, doubled = (
        TechnicalModel.from_anndata(data, "batch").fit_technical(key, **QUICK) for key in ("sum_factor", "double")
    )
    assert "size factors are" not in caplog.text
    del data.obs["sum_factor"]
    by_total = TechnicalModel.from_anndata(data, "batch").fit_technical(**QUICK)
    assert "no column 'sum_factor': size factors are each cell's total over the mean total" in caplog.text
    np.testing.assert_allclose(by_total.cells.size_factor, totals / totals.mean())
    np.testing.assert_allclose(doubled.cells.size_factor, 2 * totals / totals.mean())
    assert by_total.origin.size_factor_scale == pytest.approx(totals.mean())
    assert doubled.origin.size_factor_scale == pytest.approx(totals.mean() / 2)
    assert [fit.origin.sum_factor_key for fit in (by_column, by_total, doubled)] == ["sum_factor", None, "double"]


def test_origin_says_how_cells_were_described(data: anndata.AnnData) -> None:
    data.layers["raw"] = data.X.copy()
    origin = TechnicalModel.from_anndata(data, ["batch", "lane"], layer="raw").fit_technical(**QUICK).origin
    assert (origin.group_key, origin.sum_factor_key, origin.layer) == (("batch", "lane"), "sum_factor", "raw")


def test_the_memory_report_appears_without_logging(data: anndata.AnnData, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    logger = logging.getLogger("streamsample")
    handlers, propagate, level = list(logging.root.handlers), logger.propagate, logger.level
    logging.root.handlers.clear()
    logger.setLevel(logging.NOTSET)
    try:
        budget = Budget(nbytes=2**34, cpus=4)  # this process may hold the memory of many tests
        TechnicalModel.from_anndata(data, "batch").fit_technical(budget=budget, **QUICK)
    finally:
        logging.root.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("[MEMORY] Safety factor: 70%") for line in lines)
    assert any(line.startswith("[MEMORY] Estimated with parallel=True (4 workers)") for line in lines)
    assert any(line.startswith("[INFO] Running Predictive") for line in lines)


def test_parallel_is_the_estimators_choice(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamsample.fit import draw, settings

    seen = []
    original = draw.Predictive

    def spy(*args: Any, parallel: bool, **kwargs: Any) -> Any:
        seen.append(parallel)
        return original(*args, parallel=parallel, **kwargs)

    monkeypatch.setattr(draw, "Predictive", spy)
    a = truth.model().fit_technical(**QUICK)
    assert seen == [True]
    # The counts take 144 kB and a sample of them as much: three fit into 600 kB, 32 workers do not.
    tight = settings.size_draws((600, 60, 3), 10, None, 1.0, Budget(600_000, 32))
    assert (tight.most, tight.parallel) == (3, False)
    monkeypatch.setattr(settings, "size_draws", lambda *_: tight)
    assert truth.model().fit_technical(**QUICK).digest() == a.digest()
    assert seen == [True, False, False]


def test_a_draw_goes_on_where_no_predictive_would_fit(caplog: pytest.LogCaptureFixture) -> None:
    from streamsample.fit import settings

    sizes = settings.size_draws((600, 60, 3), 10, None, None, Budget(1000, 1))
    assert (sizes.most, sizes.parallel) == (8, False)
    sizes.tell(8, 10)
    first, last = caplog.messages
    assert first.startswith("[MEMORY] an in-memory Predictive needs 0.00 GiB for a single sample but")
    assert last.endswith("the fit draws parameters only, 8 samples at a time (whole blocks of 8, parallel=False)")


def test_the_memory_lines_are_for_comparison(truth: Truth, caplog: pytest.LogCaptureFixture) -> None:
    for minibatch_size, together in ((None, 10), (9, 8), (3, 8)):
        caplog.clear()
        truth.model().fit_technical(minibatch_size=minibatch_size, **QUICK)
        assert f"the fit draws parameters only, {together} samples at a time (whole blocks of 8" in caplog.messages[-1]
        assert ("for comparison" in caplog.messages[-1]) is (minibatch_size is None)


def test_it_can_be_saved_and_opened(data: anndata.AnnData, tmp_path: Path) -> None:
    posterior = TechnicalModel.from_anndata(data, "batch").fit_technical(**QUICK)
    posterior.save(tmp_path / "posterior.h5")
    opened = Posterior.open(tmp_path / "posterior.h5")
    assert opened.digest() == posterior.digest()
    assert opened.origin == posterior.origin
    assert opened.facts.dtype == np.float32
    assert opened.fitted.tolist() == posterior.fitted.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_key": "plate"}, "no column 'plate'; there are: batch, lane, kind, sum_factor, text"),
        ({"group_key": []}, "give group_key="),
        ({"reference": "z"}, "reference='z' is not a group; there are: x, y"),
        ({"where": "kind = 1"}, "the columns of obs are: batch, lane"),
        ({"where": "nothing > 1"}, "'nothing' is not defined; the columns of obs are: batch, lane"),
        ({"where": "sum_factor"}, "is not a condition on cells"),
        ({"where": 'kind == "none"'}, "no cell is left of 40"),
        ({"features": ["STAT1", "TP53", "MYC"]}, "lacks 2 of 3 features, 'TP53' first"),
        ({"features": ["STAT1", "STAT1"]}, "occur twice, 'STAT1' first"),
        ({"features": []}, "features= is empty"),
        ({"layer": "raw"}, "no layer 'raw'; give layer= one of those there: X"),
    ],
)
def test_bad_choices(change: dict[str, Any], message: str, data: anndata.AnnData) -> None:
    with pytest.raises(DataError, match=message) as error:
        TechnicalModel.from_anndata(data, **{"group_key": "batch", **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nsamples": 0}, "nsamples=0; it"),
        ({"niters": 0}, "niters=0"),
        ({"lr": 0.0}, "lr=0"),
        ({"tolerance": -1.0}, "tolerance=-1"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"seed": -1}, "seed=-1; it"),
        ({"device": "abacus"}, "device='abacus' can't be used"),
        ({"device": "meta:x"}, "can't be used"),
        ({"on_extreme": "shrug"}, "on_extreme='shrug'; it must be one of 'error', 'drop-feature', 'clip'"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str, truth: Truth) -> None:
    with pytest.raises(FitError, match=message) as error:
        truth.model().fit_technical(**{**QUICK, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_bad_sum_factors(bad: float, truth: Truth, data: anndata.AnnData) -> None:
    factors = truth.sum_factor.copy()
    factors[[4, 9]] = bad
    with pytest.raises(DataError, match=r"2 of 600 size factors are zero, negative, NaN or infinite, .* at cell 4"):
        TechnicalModel.from_arrays(truth.counts, truth.group, sum_factor=factors).fit_technical(**QUICK)
    data.obs.loc["cell7", "sum_factor"] = bad
    with pytest.raises(DataError, match=r"1 of 40 size factors .* 'cell7'"):
        TechnicalModel.from_anndata(data, "batch").fit_technical(**QUICK)


def test_a_named_column_that_is_not_there_is_no_typo_to_pass_over(data: anndata.AnnData) -> None:
    with pytest.raises(DataError, match="no column 'sum_factr'; there are: batch"):
        TechnicalModel.from_anndata(data, "batch").fit_technical("sum_factr", **QUICK)
    with pytest.raises(DataError, match="holds object, not size factors"):
        TechnicalModel.from_anndata(data, "batch").fit_technical("text", **QUICK)


def test_a_cell_without_counts_has_no_total_to_go_by(truth: Truth) -> None:
    counts = truth.counts.copy()
    counts[3] = 0
    with pytest.raises(DataError, match=r"1 of 600 size factors are zero.* at cell 3"):
        TechnicalModel.from_arrays(counts, truth.group).fit_technical(**QUICK)


def test_no_feature_in_all_groups() -> None:
    with pytest.raises(
        FitError, match=r"none of the 2 features has counts in each of the 2 groups \(a, b\), .* 'a', has 1 of 2 cells"
    ):
        TechnicalModel.from_arrays([[1, 0], [0, 1]], ["a", "b"], sum_factor=[1, 1]).fit_technical(**QUICK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": ["a"]}, "group has shape \\(1,\\) but counts are 600 cells x 60 features"),
        ({"group": np.full(600, np.nan)}, "600 of 600 cells have NaN as group"),
        ({"sum_factor": [1.0]}, "sum_factor has shape"),
        ({"cell_names": ["a"]}, "cell_names has shape"),
        ({"feature_names": ["a"] * 60}, "1 feature names occur twice, 'a' first"),
    ],
)
def test_arrays_that_disagree(arguments: dict[str, Any], message: str, truth: Truth) -> None:
    with pytest.raises(DataError, match=message):
        TechnicalModel.from_arrays(truth.counts, **arguments)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_fit(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="there is nothing to fit"):
        TechnicalModel.from_arrays(np.zeros(shape))


def test_a_loss_that_is_no_number_says_what_to_do(truth: Truth) -> None:
    with pytest.raises(
        FitError,
        match=r"(loss became|parameter left).* at step \d+ of 200 with lr=500; give a smaller one, such as lr=100",
    ):
        truth.model().fit_technical(niters=200, nsamples=8, lr=500.0)


@pytest.mark.parametrize(("niters", "told"), [(20, False), (21, True)])
def test_the_time_of_a_fit_is_forecast_from_its_first_20_steps(
    niters: int, told: bool, truth: Truth, caplog: pytest.LogCaptureFixture
) -> None:
    truth.model().fit_technical(niters=niters, nsamples=8)
    lines = [text for text in caplog.messages if text.startswith("[INFO] fit: the first 20 steps took ")]
    assert len(lines) == told
    assert all(f" each in the median; all {niters} take at most another " in line for line in lines)


def test_memory_that_runs_out_in_a_step_is_a_line(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.\nframe #0")

    monkeypatch.setattr(CountLikelihood, "__call__", short)
    with pytest.raises(BudgetError, match=r"^no memory for step 1 of 3 \(Default.* 8 bytes\.\), .* fewer cells$"):
        truth.model().fit_technical(**QUICK)
