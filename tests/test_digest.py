"""The digest of a posterior is of its content, whatever holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsample.posterior import Posterior
from tests.posteriors import arrays, names

SHAPE = (5, 12, 7)


def good() -> dict[str, Any]:
    """Arguments of a posterior of 5 samples, 12 cells, 7 features and 2 groups."""
    return arrays(SHAPE) | names(SHAPE)


def test_the_digest_is_a_contract() -> None:
    """Of fixed values, so that manifests of every release stay true."""
    posterior = Posterior.from_arrays(
        np.array([[0.5, 2.0]]),
        np.array([[1.0, np.inf]]),
        np.array([[[1.0, 1.0], [0.25, 4.0]]]),
        size_factor=[1.0, 0.5, 2.0],
        group=[0, 1, 1],
        feature_names=["STAT1", "β"],
    )
    assert posterior.digest() == "5a02cadffa031b9b6748301f95d88b56ae466821bdf49b9bb3923c19bcb01022"


def test_the_digest_is_of_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    single = {name: value.astype(np.float32) for name, value in good().items() if name in ("mu", "phi", "alpha")}
    double = {name: value.astype(np.float64) for name, value in single.items()}
    digests = {Posterior.from_arrays(**good() | draws).digest() for draws in (single, double)}
    for step in (1, 2, 3, 100):
        monkeypatch.setattr(Posterior, "samples_per_read", lambda _, step=step: step)
        digests.add(Posterior.from_arrays(**good() | single).digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("mu", (4, 6), 0.125),
        ("phi", (0, 0), 0.125),
        ("alpha", (2, 1, 3), 0.125),
        ("size_factor", (11,), 0.125),
        ("group", (5,), None),
        ("cell_names", (0,), "other"),
        ("feature_names", (6,), "other"),
        ("group_names", (1,), "other"),
    ],
)
def test_the_digest_sees_every_part(name: str, at: tuple[int, ...], value: Any) -> None:
    before = Posterior.from_arrays(**good()).digest()
    changed = good()
    changed[name] = np.array(changed[name], dtype=object if name.endswith("names") else None)
    changed[name][at] = 1 - changed[name][at] if value is None else value
    assert Posterior.from_arrays(**changed).digest() != before
    if name.endswith("names"):
        del changed[name]
        assert Posterior.from_arrays(**changed).digest() != before


def test_names_do_not_run_into_each_other() -> None:
    digests = {Posterior.from_arrays(**good() | {"group_names": pair}).digest() for pair in (["ab", "c"], ["a", "bc"])}
    assert len(digests) == 2
