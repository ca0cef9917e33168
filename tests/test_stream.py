"""A stream reads like a NumPy array, computes what is asked for, and says what is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from streamsample import stream as module
from streamsample import twin
from streamsample.bins import lay_out
from streamsample.budget import Budget
from streamsample.errors import BudgetError, PosteriorError, SelectionError
from streamsample.geometry import IndexArray, Selection
from streamsample.minibatch import Minibatch
from streamsample.parameters import Parameters
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests import reference
from tests.posteriors import arrays, named_posterior

SHAPE = (5, 26, 19)
POSTERIOR = named_posterior(SHAPE)
STREAM = CountStream(POSTERIOR, seed=11)
CELL_MASK = np.arange(26) % 3 == 1


@pytest.fixture(scope="module")
def whole() -> Any:
    return STREAM[:]


def test_shape_type_and_size(whole: Any) -> None:
    assert (STREAM.shape, STREAM.ndim, STREAM.size, len(STREAM)) == (SHAPE, 3, 5 * 26 * 19, 5)
    assert STREAM.dtype == whole.dtype == np.uint32
    assert whole.shape == SHAPE
    assert whole.max() > 20, "the counts must be able to tell elements apart"
    assert repr(STREAM) == "<CountStream (5, 26, 19) (samples, cells, features) seed=11>"


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(2),
        np.uint8(4),
        np.array(1),
        slice(None),
        slice(1, 4),
        slice(None, None, -1),
        (slice(None), slice(20, 2, -5)),
        (slice(None), slice(-3, None), slice(None, None, 7)),
        (3, slice(10, 20), slice(None, None, 7)),
        (1, 2, 3),
        (-5, -26, -19),
        (slice(None), 5),
        (slice(None), slice(None), -2),
        (Ellipsis, 4),
        (2, Ellipsis),
        (2, Ellipsis, 3),
        (1, 2, 3, Ellipsis),  # NumPy: an array without axes; here: the count
        Ellipsis,
        (),
        slice(2, 2),
        (slice(None), slice(9, 3)),
        (0, [], 2),
        (slice(None), [5, 5, 0, -1]),
        (slice(None), slice(None), np.array([18, 3, 3, -19], dtype=np.int16)),
        (slice(None), CELL_MASK),
        (2, CELL_MASK, slice(None, None, 3)),
        (slice(None), slice(None), range(0, 19, 6)),
        (slice(0, 99), slice(-99, 4)),
    ],
    ids=repr,
)
def test_keys_mean_what_they_mean_to_numpy(whole: Any, key: Any) -> None:
    found = STREAM[key]
    expected = whole[key]
    assert (np.shape(found), found.dtype) == (np.shape(expected), np.uint32)
    np.testing.assert_array_equal(found, expected)


def test_lists_on_two_axes_are_a_grid_not_pairs(whole: Any) -> None:
    np.testing.assert_array_equal(STREAM[[3, 0], [7, 8, 7], [2]], whole[np.ix_([3, 0], [7, 8, 7], [2])])
    np.testing.assert_array_equal(STREAM[1, CELL_MASK, [4, 0]], whole[1][np.ix_(CELL_MASK, [4, 0])])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (5, r"sample 5 is out of bounds: the axis has 5"),
        ((0, -27), r"cell -27 is out of bounds: the axis has 26"),
        ((0, 0, [1, 19]), r"feature 19 is out of bounds: the axis has 19"),
        ((0, 0, 0, 0), r"counts have 3 axes"),
        ((Ellipsis, 0, Ellipsis), r"counts have 3 axes"),
        (None, r"counts have 3 axes"),
        (1.0, r"sample axis is of type float64; give integers, a slice or a mask"),
        (True, r"mask of the sample axis has shape \(\), it needs \(5,\)"),
        ((0, np.ones(25, dtype=bool)), r"mask of the cell axis has shape \(25,\), it needs \(26,\)"),
        ((0, [[1, 2]]), r"index of the cell axis has 2 dimensions"),
        ("gene3", r"the key 'gene3' is a name; read it with \.sel"),
        ((0, 0, "0:3"), r"is a name; read it with \.sel"),
    ],
)
def test_wrong_keys_are_one_line(key: Any, message: str) -> None:
    with pytest.raises(SelectionError, match=message) as error:
        STREAM[key]
    assert "\n" not in str(error.value)
    assert isinstance(error.value, IndexError)


def test_iteration_and_arrays(whole: Any) -> None:
    np.testing.assert_array_equal(np.stack([STREAM[s] for s in range(5)]), whole)
    np.testing.assert_array_equal(np.asarray(STREAM), whole)
    for s, counts in enumerate(STREAM):  # type: ignore[arg-type,var-annotated]  # by __getitem__, up to its IndexError
        np.testing.assert_array_equal(counts, whole[s])
    assert s == 4
    assert np.asarray(STREAM, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy=False"):
        np.array(STREAM, copy=False)


def test_names_find_their_counts(whole: Any) -> None:
    assert STREAM.sel(feature="gene7").shape == (5, 26)
    np.testing.assert_array_equal(STREAM.sel(feature="gene7"), whole[:, :, 7])
    np.testing.assert_array_equal(STREAM.sel(cell="cell25", sample=-1), whole[-1, 25])
    np.testing.assert_array_equal(STREAM.sel(feature=["gene9", "gene1", "gene9"]), whole[:, :, [9, 1, 9]])
    np.testing.assert_array_equal(
        STREAM.sel(sample=slice(1, 3), cell=np.array(["cell4", "cell2"]), feature=("gene0",)),
        whole[1:3][:, [4, 2]][:, :, [0]],
    )
    np.testing.assert_array_equal(STREAM.sel(cell=np.array(3)), whole[:, 3])
    np.testing.assert_array_equal(STREAM.sel(), whole)
    assert STREAM.sel(feature=[]).shape == (5, 26, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"feature": "GENE7"}, r"there is no feature named 'GENE7' \(1 unknown\); near it: gene7,"),
        ({"feature": ["gene1", "what", "which"]}, r"no feature named 'what' \(2 unknown\); near it: "),
        ({"cell": "cell99"}, r"there is no cell named 'cell99'"),
        ({"sample": "first"}, r"the posterior has no sample names; give positions"),
        ({"feature": 19}, r"feature 19 is out of bounds"),
    ],
)
def test_unknown_names_are_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SelectionError, match=message) as error:
        STREAM.sel(**keys)
    assert "\n" not in str(error.value)


def test_a_name_that_two_cells_have_is_refused() -> None:
    stream = CountStream(Posterior.from_arrays([[1.0]], [[1.0]], n_cells=3, cell_names=["a", "b", "a"]))
    assert stream.sel(cell="b").shape == (1, 1)
    with pytest.raises(SelectionError, match="several cells are named 'a'; give positions"):
        stream.sel(cell=["b", "a"])


def test_selecting_computes_nothing_and_keeps_addresses(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Minibatch, "fill", lambda *_: pytest.fail("computed"))
        part = STREAM.select("1:5", slice(25, 3, -2), [3, 1, 17]).select(cells=CELL_MASK[: len(range(25, 3, -2))])
    cells = np.arange(25, 3, -2)[CELL_MASK[:11]]
    assert part.shape == (4, cells.size, 3)
    np.testing.assert_array_equal(part.selection.cells, cells)
    np.testing.assert_array_equal(part[:], whole[np.ix_(range(1, 5), cells, [3, 1, 17])])
    np.testing.assert_array_equal(part.sel(feature="gene17"), whole[1:5][:, cells][:, :, 17])
    with pytest.raises(SelectionError, match="no feature named 'gene2'"):
        part.sel(feature="gene2")
    assert part[2:2].shape == (0, cells.size, 3)


def test_a_selection_has_each_index_once_and_within_the_axes() -> None:
    with pytest.raises(SelectionError, match="a cell is selected twice"):
        STREAM.select(cells=[3, 4, -23])
    with pytest.raises(SelectionError, match="feature 19 is out of bounds: the axis has 19"):
        CountStream(POSTERIOR, 0, Selection(np.array([0]), np.array([0]), np.array([1, 19])))
    with pytest.raises(SelectionError, match="a sample is selected twice"):
        CountStream(POSTERIOR, 0, Selection(np.array([1, 1]), np.array([0]), np.array([0])))


class Reads:
    """A source that remembers what was read of it."""

    def __init__(self, posterior: Posterior) -> None:
        self.source, self.seen = posterior.source, list[tuple[list[int], list[int] | None]]()
        self.facts = posterior.source.facts

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        self.seen.append((samples.tolist(), None if features is None else features.tolist()))
        return self.source.read(samples, features)


def test_only_the_parameters_asked_for_are_read() -> None:
    source = Reads(POSTERIOR)
    stream = CountStream(Posterior(source, POSTERIOR.cells), 11)
    stream[3, 10:20, ::7]
    stream.select(samples=[4, 2]).load(0, 2)
    stream[:0]
    assert source.seen == [([3], [0, 7, 14]), ([4, 2], None)]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_are_64_bits(seed: int) -> None:
    with pytest.raises(SelectionError, match=rf"the seed {seed} is not in \[0, 2\*\*64\)"):
        CountStream(POSTERIOR, seed)


def test_each_seed_has_its_own_counts(whole: Any) -> None:
    seeds = [0, 1, 2**32, 2**32 + 1, 2**64 - 1]
    made = [CountStream(POSTERIOR, seed)[:].tobytes() for seed in seeds] + [whole.tobytes()]
    assert len(set(made)) == 6


def test_zero_means_are_zero_counts(whole: Any) -> None:
    assert not whole[:, :, 0].any(), "mu = 0"
    assert not whole[:, 0].any(), "size_factor = 0"
    assert whole[:, 1:, 1:].any(axis=(0, 1)).all()
    empty = Posterior.from_arrays(np.ones((2, 40)), np.ones((2, 40)), size_factor=np.zeros(200))
    assert not CountStream(empty)[:].any()


@pytest.mark.parametrize("shape", [(1, 26, 19), (5, 1, 19), (5, 26, 1), (1, 1, 1)])
def test_axes_of_one(shape: tuple[int, int, int]) -> None:
    given = arrays(SHAPE)
    s, n, t = (slice(size - k, size) for size, k in zip(SHAPE, shape, strict=True))
    part = {
        "mu": given["mu"][s, t],
        "phi": given["phi"][s, t],
        "alpha": given["alpha"][s, :, t],
        "size_factor": given["size_factor"][n],
        "group": given["group"][n],
    }
    found = CountStream(Posterior.from_arrays(**part), 11)[:]
    assert found.shape == shape
    np.testing.assert_array_equal(found, reference.counts(11, part, tuple(range(k) for k in shape)))  # type: ignore[arg-type]


def test_float32_parameters_are_taken_as_they_are() -> None:
    given = arrays(SHAPE)
    single = given | {name: given[name].astype(np.float32) for name in ("mu", "phi", "alpha")}
    double = single | {name: single[name].astype(np.float64) for name in ("mu", "phi", "alpha")}
    found, expected = (CountStream(Posterior.from_arrays(**g), 1)[:] for g in (single, double))
    np.testing.assert_array_equal(found, expected)


def test_a_hundred_thousand_features() -> None:
    rng = np.random.default_rng(0)
    mu = rng.gamma(0.5, 1.0, (3, 100_000))
    posterior = Posterior.from_arrays(mu, np.full_like(mu, 2.0), n_cells=50)
    source = Reads(posterior)
    stream = CountStream(Posterior(source, posterior.cells), 1)
    one, few = stream[2, 7, 99_999], stream[2, :, 99_990:]
    assert source.seen == [([2], [99_999]), ([2], list(range(99_990, 100_000)))], "nothing else was read"
    whole = stream[2]
    assert whole.shape == (50, 100_000)
    np.testing.assert_array_equal(few, whole[:, 99_990:])
    np.testing.assert_array_equal(stream[2:, :10][0, 7], whole[7])
    assert one == whole[7, 99_999]


def test_counts_that_do_not_fit_into_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOUD_NBYTES", 1000)
    monkeypatch.setattr(Budget, "detect", lambda: Budget(2000, 1))
    with pytest.raises(BudgetError, match=r"shape \(5, 26, 19\) take 9\.6 KiB but 2\.0 KiB are there"):
        STREAM[:]
    assert STREAM[0, 0].shape == (19,)


def test_values_outside_the_domain_are_found_when_they_are_read() -> None:
    far = POSTERIOR.for_cells(np.full(3, 1e7), np.array([0, 1, 1]))
    with pytest.raises(PosteriorError, match=re.escape("at most 1e+07")):
        CountStream(far)[:, 0]
    assert CountStream(far)[:, :, 0].sum() == 0, "feature 0 has mean 0 at any depth"


def test_cells_are_arranged_once_for_all_that_is_read_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(cells: IndexArray, *arguments: Any) -> Any:
        made.append(cells.size)
        return lay_out(cells, *arguments)

    monkeypatch.setattr(module, "lay_out", counted)
    monkeypatch.setattr(twin, "is_quicker", lambda _: False)
    stream = CountStream(POSTERIOR, seed=11)
    parts = [stream[:, :, 3], stream[2], stream[4, :20, 1], stream.select(cells=slice(5, 9))[0]]
    assert made == [26, 20, 4]
    for part, key in zip(parts, (np.s_[:, :, 3], np.s_[2], np.s_[4, :20, 1], np.s_[0, 5:9]), strict=True):
        np.testing.assert_array_equal(part, STREAM[key])
