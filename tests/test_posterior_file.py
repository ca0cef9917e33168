"""posterior.h5: written by anyone, read a minibatch at a time, complete or absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from streamsample.cells import Origin
from streamsample.errors import OutputExists, PosteriorError, StoreError
from streamsample.geometry import IndexArray
from streamsample.parameters import Facts, Parameters, Source
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.posteriors import arrays, listed, named_posterior, names

SHAPE = (9, 12, 7)
FORMAT = "streamsample-posterior-1"


def parts() -> dict[str, Any]:
    """Every dataset that a posterior.h5 may have."""
    return arrays(SHAPE) | names(SHAPE)


def written(path: Path, changes: dict[str, Any] | None = None, **attributes: Any) -> Path:
    """Write a posterior with h5py alone; a change to None leaves a dataset out."""
    with h5py.File(path, "w") as file:
        for name, value in ({"format": FORMAT} | attributes).items():
            if value is not None:
                file.attrs[name] = value
        for name, value in (parts() | (changes or {})).items():
            if value is not None:
                file[name] = value
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posterior.h5"


def test_a_file_of_plain_h5py_opens(path: Path) -> None:
    posterior = Posterior.open(written(path, size_factor_scale=1234.5))
    expected = Posterior.from_arrays(**parts())
    assert posterior.shape == SHAPE
    assert posterior.digest() == expected.digest()
    assert posterior.origin == Origin(size_factor_scale=1234.5)
    assert posterior.facts.bytes_per_sample == expected.facts.bytes_per_sample
    np.testing.assert_array_equal(CountStream(posterior, 4)[:], CountStream(expected, 4)[:])
    assert CountStream(posterior).sel(feature="gene2", cell="cell3").shape == (9,)


def test_the_least_that_a_file_needs(path: Path) -> None:
    least = dict.fromkeys(("alpha", "size_factor", "group", "cell_names", "feature_names", "group_names"))
    posterior = Posterior.open(written(path, least, n_cells=4))
    given = parts()
    assert posterior.shape == (9, 4, 7)
    assert posterior.digest() == Posterior.from_arrays(given["mu"], given["phi"], n_cells=4).digest()


def test_any_floating_type_and_order_of_bytes(path: Path) -> None:
    single = {name: parts()[name].astype(np.float32) for name in ("mu", "phi", "alpha")}
    expected = Posterior.from_arrays(**parts() | single)
    digests = {expected.digest()}
    for kind in ("<f4", ">f4", "<f8", ">f8"):
        posterior = Posterior.open(written(path, {name: value.astype(kind) for name, value in single.items()}))
        assert posterior.facts.dtype == np.dtype(kind).newbyteorder("=")
        digests.add(posterior.digest())
    assert len(digests) == 1


def test_names_of_fixed_length_and_beyond_ascii(path: Path) -> None:
    given = {"feature_names": np.array([f"g{t}".encode() for t in range(7)]), "group_names": ["β", "日本"]}
    facts = Posterior.open(written(path, given)).facts
    assert listed(facts.feature_names) == [f"g{t}" for t in range(7)]
    assert listed(facts.group_names) == ["β", "日本"]


@pytest.mark.parametrize("samples", [[0], [8, 0], [3, 4, 5], [7, 2, 2], [0, 8, 4, 1, 2, 3, 5, 6, 7]])
@pytest.mark.parametrize("features", [None, [6], [5, 1, 3]])
def test_any_part_can_be_read(path: Path, samples: list[int], features: list[int] | None) -> None:
    columns = None if features is None else np.array(features)
    from_file = Posterior.open(written(path)).read(np.array(samples), columns)
    from_arrays = Posterior.from_arrays(**parts()).read(np.array(samples), columns)
    for name in ("mu", "phi", "alpha"):
        found = getattr(from_file, name)
        np.testing.assert_array_equal(found, getattr(from_arrays, name))
        assert found.dtype == np.float64
        assert found.flags.c_contiguous


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_saved_is_what_is_opened(path: Path, kind: Any) -> None:
    draws = {name: parts()[name].astype(kind) for name in ("mu", "phi", "alpha")}
    origin = Origin(1000.0, ("bio_rep", "lane"), "sum_factor", "counts")
    fitted = np.arange(7) != 3
    posterior = Posterior.from_arrays(**parts() | draws, origin=origin, fitted=fitted)
    posterior.save(path)
    opened = Posterior.open(path)
    assert opened.digest() == posterior.digest()
    assert opened.facts.dtype == kind
    assert opened.facts.bytes_per_sample == posterior.facts.bytes_per_sample
    assert opened.origin == origin
    assert opened.fitted.tolist() == fitted.tolist()
    assert listed(opened.cells.names) == parts()["cell_names"]
    with h5py.File(path) as file:
        assert file.attrs["format"] == FORMAT
        assert file.attrs["size_factor_scale"] == 1000.0
        assert {name: file[name].shape for name in ("mu", "phi", "alpha")} == {
            "mu": (9, 7),
            "phi": (9, 7),
            "alpha": (9, 2, 7),
        }
        assert (file["size_factor"].dtype, file["group"].dtype.kind) == (np.float64, "i")
        assert file["feature_names"].asstr()[2] == "gene2"
    copy = path.with_name("copy.h5")
    opened.for_cells([1.0], ["rep_1"]).save(copy)
    assert Posterior.open(copy).cells.group.tolist() == [1]


def test_no_size_of_reading_changes_the_file_or_the_digest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = named_posterior(SHAPE)
    digests = {posterior.digest()}
    for step in (1, 2, 4, 100):
        monkeypatch.setattr(Posterior, "samples_per_read", lambda _, step=step: step)
        posterior.save(path, overwrite=True)
        digests.add(Posterior.open(path).digest())
    assert len(digests) == 1


def test_the_representation_names_the_file(path: Path) -> None:
    named_posterior((5, 12, 7)).save(path)
    assert repr(Posterior.open(path)) == f"<Posterior 5 samples x 12 cells x 7 features, 2 groups ({path.name})>"


def test_a_file_is_not_replaced_unless_told(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(OutputExists, match=r"posterior\.h5 exists; give overwrite=True \(--overwrite\)"):
        named_posterior(SHAPE).save(path)
    assert path.read_text() == "mine"
    named_posterior(SHAPE).save(path, overwrite=True)
    assert Posterior.open(path).shape == SHAPE
    Posterior.open(path).save(path, overwrite=True)  # onto itself
    assert Posterior.open(path).digest() == named_posterior(SHAPE).digest()
    assert [file.name for file in path.parent.iterdir()] == ["posterior.h5"]


@dataclass(frozen=True)
class Breaking:
    """A source that fails after some reads."""

    source: Source
    error: BaseException
    last: int

    def facts(self) -> Facts:
        return self.source.facts()

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        if samples.max() > self.last:
            raise self.error
        return self.source.read(samples, features)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PosteriorError("gone"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_folder_as_it_was(
    path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Posterior, "samples_per_read", lambda _: 2)
    good = named_posterior(SHAPE)
    bad = Posterior(Breaking(good.source, error, last=5), good.cells)
    expected = StoreError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        bad.save(path)
    assert list(path.parent.iterdir()) == []
    good.save(path)
    before = path.read_bytes()
    with pytest.raises(expected):
        bad.save(path, overwrite=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there_or_is_a_file(path: Path) -> None:
    path.write_text("mine")
    for below, why in ((path / "p.h5", "Not a directory"), (path.parent / "missing" / "p.h5", "No such file")):
        with pytest.raises(StoreError, match=rf"can't write .*p\.h5: {why}") as error:
            named_posterior(SHAPE).save(below)
        assert "\n" not in str(error.value)
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "attributes", "message"),
    [
        ({"mu": None}, {}, r"has no dataset 'mu'; it holds alpha, cell_names, feature_names, group,"),
        ({"phi": None}, {}, r"has no dataset 'phi'"),
        ({}, {"format": None}, r"is not a posterior: its attribute 'format' is None"),
        ({}, {"format": "streamsample-posterior-3"}, r"'format' is 'streamsample-posterior-3', not 'streamsample-po"),
        ({"size_factor": None}, {}, r"neither a dataset size_factor nor an attribute n_cells"),
        ({"size_factor": None, "group": None, "cell_names": None}, {"n_cells": 0}, r"n_cells is 0"),
        ({"size_factor": None}, {"n_cells": "many"}, r"an attribute can't be read .*'many'"),
        ({}, {"origin": "{"}, r"an attribute can't be read"),
        ({"phi": np.ones((9, 6))}, {}, r"mu and phi must both be \[S, T\], they are \(9, 7\) and \(9, 6\)"),
        ({"mu": np.ones((9, 7, 1))}, {}, r"'mu' is a dataset of shape \(9, 7, 1\), not a dataset \[S, T\]"),
        ({"alpha": np.ones((9, 7, 2))}, {}, r"alpha must be \[S, C, T\] with mu's .* it is \(9, 7, 2\)"),
        ({"alpha": np.ones((9, 7))}, {}, r"'alpha' is a dataset of shape \(9, 7\), not a dataset \[S, C, T\]"),
        ({"size_factor": 1.0}, {}, r"'size_factor' is a dataset of shape \(\), not a dataset \[N\]"),
        ({"mu/inner": np.ones(2), "mu": None}, {}, r"'mu' is a group, not a dataset \[S, T\]"),
        ({"mu": np.ones((9, 7), int)}, {}, r"dataset 'mu' holds int64, not float32 or float64"),
        ({"phi": np.ones((9, 7), np.float16)}, {}, r"dataset 'phi' holds float16, not float32 or float64"),
        ({"feature_names": np.arange(7)}, {}, r"dataset 'feature_names' holds int64, not utf-8 text"),
        ({"feature_names": np.array([b"\xff"] * 7)}, {}, r"dataset 'feature_names' is not utf-8 text"),
        ({"feature_names": ["a"] * 7}, {}, r"1 feature names occur twice, 'a' first"),
        ({"feature_names": ["a"]}, {}, r"feature_names has shape \(1,\), it needs \(7,\)"),
        ({"group": np.full(12, 2)}, {}, r"group 2 of cell 0 is not in \[0, 2\) \(12 such\)"),
        ({"group": np.zeros(11, int)}, {}, r"group has shape \(11,\) but there are 12 size factors"),
        ({"group": np.zeros(12)}, {}, r"group must hold integers"),
        ({"size_factor": np.full(12, np.nan)}, {}, r"12 of 12 size factors are NaN"),
        ({"alpha": np.ones((9, 0, 7))}, {}, r"has no groups"),
        ({n: np.ones((0, 7)) for n in ("mu", "phi")} | {"alpha": None}, {}, r"has no samples"),
    ],
)
def test_bad_files_are_one_line(path: Path, changes: Any, attributes: Any, message: str) -> None:
    with pytest.raises(PosteriorError, match=message) as error:
        Posterior.open(written(path, changes, **attributes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("mu", (6, 2), np.nan, r"mu must be .* 1 of 63 values are not, the first is nan at \(s=6, t=2\)"),
        ("phi", (1, 0), 0.0, r"phi must be .* the first is 0 at \(s=1, t=0\)"),
        ("alpha", (8, 1, 6), np.inf, r"alpha of group 1 .* the first is inf at \(s=8, t=6\)"),
    ],
)
def test_bad_draws_are_found_when_they_are_read(path: Path, name: str, at: Any, value: float, message: str) -> None:
    given = parts()
    given[name][at] = value
    posterior = Posterior.open(written(path, given))
    with pytest.raises(PosteriorError, match=message):
        posterior.check()
    stream = CountStream(posterior)
    with pytest.raises(PosteriorError, match=rf"at \(s={at[0]}, t={at[-1]}\)"):
        stream[:, 0, [at[-1], 3]]
    assert stream[at[0], :, 4].shape == (12,)


def test_what_is_no_hdf5_file(path: Path) -> None:
    with pytest.raises(PosteriorError, match="there is no such file"):
        Posterior.open(path)
    path.write_text("mu,phi\n1,2\n")
    with pytest.raises(PosteriorError, match="is not a readable HDF5 file") as error:
        Posterior.open(path)
    assert "\n" not in str(error.value)
    with pytest.raises(PosteriorError, match="is not a readable HDF5 file"):
        Posterior.open(path.parent)
    written(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PosteriorError, match="is not a readable HDF5 file"):
        Posterior.open(path)


def test_a_file_that_goes_away_is_one_line(path: Path) -> None:
    posterior = Posterior.open(written(path))
    path.unlink()
    with pytest.raises(PosteriorError, match="there is no such file"):
        CountStream(posterior)[0]
