"""What `info` tells of an .h5ad file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from streamsample.fit import TechnicalModel
from streamsample.interop.describe import describe


def test_layers_groups_and_size_factors(path: Path) -> None:
    found = describe(path)
    assert (found.path, found.ncells, found.nfeatures) == (str(path), 12, 3)
    layers = {layer.name: (layer.is_counts, layer.is_sparse) for layer in found.layers}
    assert layers == {"X": (False, True), "counts": (True, True), "dense": (False, False)}
    assert found.groups == {"batch": {"x": 6, "y": 6}, "donor": {"d1": 4, "d2": 4, "d3": 4}}
    assert found.size_factors == ("sum_factor",)


def test_the_command_is_ready_to_run(path: Path) -> None:
    words = shlex.split(describe(path).command())
    assert words[:3] == ["streamsample", "fit", str(path)]
    assert words[3:] == [
        "-o", "posterior.h5", "--group-key", "batch", "--layer", "counts", "--sum-factor-key", "sum_factor"
    ]  # fmt: skip
    model = TechnicalModel.from_anndata(path, "batch", layer="counts")
    assert model.fit_technical("sum_factor", niters=2, nsamples=2).shape == (2, 12, 3)


def test_the_demos_file(ntc_h5ad: Path) -> None:
    found = describe(ntc_h5ad)
    assert [(layer.name, layer.is_counts) for layer in found.layers] == [("X", True)]
    assert found.groups["bio_rep"] == {"rep_1": 965, "rep_2": 755, "rep_3": 666}
    assert "--group-key bio_rep --sum-factor-key sum_factor" in found.command()
    assert "--layer" not in found.command()


def test_columns_named_like_technical_ones_come_first() -> None:
    obs = pd.DataFrame(
        {
            "a": ["u", "v"] * 4,
            "plate": list("wxyzwxyz"),
            "alone": ["q"] * 8,
            "weight": [0.5] * 8,
            "size_factor": [1.0] * 8,
        }
    )
    obs.index = obs.index.astype(str)
    found = describe(anndata.AnnData(np.ones((8, 1)), obs=obs))
    assert list(found.groups) == ["plate", "a"]
    assert found.technical == ("plate",)
    assert found.advice().endswith("not one of biology or treatment: plate")
    assert found.size_factors == ("size_factor", "weight")


def test_technical_columns_are_known_by_words_and_ordered() -> None:
    technical = ["bioRep", "Replicate", "batch_id", "PlateNr", "lane", "orig.ident"]
    others = ["cell_type", "represented", "prune", "sample_type", "donorSex", "Phase"]
    labels = list("wwwxxxyyyzzz")
    obs = pd.DataFrame(dict.fromkeys([*others, *technical[::-1]], labels), index=[f"cell{n}" for n in range(12)])
    found = describe(anndata.AnnData(np.ones((12, 1)), obs=obs))
    assert set(found.technical[:2]) == set(technical[:2])
    assert list(found.technical[2:]) == technical[2:]
    assert set(list(found.groups)[len(technical) :]) == set(others)


def test_biology_is_never_proposed_as_the_group() -> None:
    obs = pd.DataFrame({"cell_type": ["t", "b"] * 4, "target": list("wxyzwxyz")}, index=[f"cell{n}" for n in range(8)])
    found = describe(anndata.AnnData(np.ones((8, 1)), obs=obs))
    assert list(found.groups) == ["cell_type", "target"]
    assert "--group-key TECHNICAL_COLUMN" in found.command()
    assert found.advice().endswith("no column is named like one")


def test_placeholders_where_nothing_is_found() -> None:
    found = describe(anndata.AnnData(np.full((3, 1), 0.5)))
    assert "--group-key TECHNICAL_COLUMN --layer LAYER" in found.command()


def test_json(path: Path) -> None:
    facts = json.loads(json.dumps(describe(path).to_json()))
    assert facts["ncells"] == 12
    assert facts["layers"]["counts"] == {"dtype": "float32", "is_sparse": True, "is_counts": True}
    assert facts["technical"] == ["batch", "donor"]
    assert facts["command"].startswith("streamsample fit")
