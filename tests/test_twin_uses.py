"""Where the twin takes the kernels' place: tiny reads, machines without Numba, and the cross-examination of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample import twin, verifier
from streamsample.errors import CorruptSlab, CountOverflow, MissingExtra, SelectionError
from streamsample.exact import settle
from streamsample.planner import plan
from streamsample.posterior import Posterior
from streamsample.run import sample
from streamsample.stores.base import store_for
from streamsample.stream import CountStream
from tests import compiled
from tests.posteriors import named_posterior

assert compiled._twin.__name__ == "streamsample._twin"  # or else skipped as a whole

SHAPE = (6, 90, 23)
POSTERIOR = named_posterior(SHAPE)
STREAM = CountStream(POSTERIOR, seed=2**63 + 5)


@pytest.fixture(scope="module")
def whole() -> Any:
    """All counts, by the kernel."""
    return STREAM[:]


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not loaded the kernels, and can't."""
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "streamsample.kernels.slab")


def test_a_block_and_single_addresses(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin, "AT_ONCE", 1000)
    monkeypatch.setattr(Posterior, "samples_per_read", lambda _: 4)
    block = twin.counts(STREAM, *np.ix_(*map(range, SHAPE)))
    assert block.dtype == np.uint32
    np.testing.assert_array_equal(block, whole)
    s, n, t = (np.random.default_rng(3).integers(0, size, (7, 30)) for size in SHAPE)
    np.testing.assert_array_equal(twin.counts(STREAM, s, n, t), whole[s, n, t])
    np.testing.assert_array_equal(twin.counts(STREAM, 2, n, 5), whole[2, n, 5])
    assert twin.counts(STREAM, [], [], []).shape == (0,)


@pytest.mark.parametrize(
    ("address", "axis"), [((6, 0, 0), "sample"), ((0, -1, 0), "cell"), ((0, 0, [1, 23]), "feature")]
)
def test_addresses_out_of_bounds(address: tuple[Any, Any, Any], axis: str) -> None:
    with pytest.raises(SelectionError, match=rf"{axis} -?\d+ is out of bounds: the axis has \d+"):
        twin.counts(STREAM, *address)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_slab_of_a_selection(whole: Any, dtype: Any) -> None:
    chosen = STREAM.select(samples=[4, 1, 3], cells=slice(80, 3, -7), features=[5, 22, 0])
    out = np.zeros((2, 4, 3), dtype)
    index, block = chosen.selection, chosen.load(1, 3).parameters
    twin.fill(STREAM.seed, index.samples[1:], index.cells[2:6], index.features, block, POSTERIOR.cells, out)
    np.testing.assert_array_equal(out, whole[np.ix_(index.samples[1:], index.cells[2:6], index.features)])


def test_what_is_undecided_goes_to_tier_3() -> None:
    """Means are chosen so that u is a step of the CDF to the last bit that float64 has."""
    phi, u = 1.7, np.array([twin._load().uniform(99, 0, n, 0) for n in range(40)])
    mu = phi * np.expm1(-np.log(u) / phi)  # F(0) = (1 + m / phi)**-phi = u
    for n in range(40):
        stream = CountStream(Posterior.from_arrays([[mu[n]]], [[phi]], n_cells=40), 99)
        assert twin.counts(stream, 0, n, 0) == settle(float(mu[n]), phi, float(u[n]), 0)


def test_an_overflow_names_its_element_as_the_kernel_does() -> None:
    posterior = Posterior.from_arrays(np.full((2, 3), 5000.0), np.full((2, 3), 9.0), n_cells=8)
    minibatch = CountStream(posterior, 3).load(0, 2)
    out = np.zeros((2, 8, 3), np.uint8)
    with pytest.raises(CountOverflow, match=r"sample 0, cell 0, feature 0 .* 255, the most that uint8 holds") as ours:
        twin.fill(3, np.arange(2), np.arange(8), np.arange(3), minibatch.parameters, posterior.cells, out)
    with pytest.raises(CountOverflow) as theirs:
        minibatch.fill(0, 2, 0, 8, out)
    assert str(ours.value) == str(theirs.value)
    posterior = Posterior.from_arrays(np.full((1, 20_000), 1e7), np.full((1, 20_000), 1e-3), n_cells=1)
    with pytest.raises(CountOverflow, match="4294967295, the most that uint32 holds"):
        twin.counts(CountStream(posterior), 0, 0, np.arange(20_000))


@pytest.mark.usefixtures("no_kernel")
def test_few_counts_are_read_without_numba() -> None:
    found = STREAM[2, 10:20, ::5]
    np.testing.assert_array_equal(found, twin.counts(STREAM, *np.ix_([2], range(10, 20), range(0, 23, 5)))[0])
    with pytest.raises(ImportError, match="numba"):
        _ = CountStream(named_posterior((1, twin.FEW + 1, 1)))[:]


def test_few_counts_are_read_by_the_kernel_where_the_twin_is_not_built(
    whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "streamsample._twin", None)
    monkeypatch.delitem(sys.modules, "streamsample.kernels.slab")
    assert not twin.built()
    np.testing.assert_array_equal(STREAM[2, 10:20], whole[2, 10:20])
    with pytest.raises(MissingExtra, match=r"without its compiled part .* install a C compiler .*gcc") as error:
        twin.counts(STREAM, 0, 0, 0)
    assert "\n" not in str(error.value)


READ = """
import json, logging, sys
logging.basicConfig(format="%(message)s")
import streamsample as ss
counts = ss.CountStream(ss.Posterior.open(sys.argv[1]), seed=2**63 + 5)[eval(sys.argv[2])]
print(json.dumps({"counts": counts.tolist(), "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize(
    ("key", "environment"),
    [("0, slice(50), slice(0, 23, 20)", {}), ("slice(None)", {"NUMBA_DISABLE_JIT": "1"})],
    ids=["few", "no Numba"],
)
def test_a_process_of_its_own(whole: Any, tmp_path: Path, key: str, environment: dict[str, str]) -> None:
    POSTERIOR.save(tmp_path / "posterior.h5")
    command = [sys.executable, "-W", "error", "-c", READ, str(tmp_path / "posterior.h5"), key]
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    answer = json.loads(ended.stdout)
    np.testing.assert_array_equal(answer["counts"], whole[eval(key)])
    assert {"numba", "scipy", "mpmath", "torch"}.isdisjoint(answer["modules"])
    lines = ended.stderr.splitlines()
    assert len(lines) == len(environment)
    assert all(line.startswith("NUMBA_DISABLE_JIT is set; counts are computed by the twin") for line in lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 6 slabs of 2,070 counts."""
    made = replace(plan(STREAM, tmp_path / "counts.npy"), minibatch=1, slab_samples=1, slab_cells=90)
    return sample(STREAM, tmp_path / "counts.npy", plan=made)


def test_every_piece_that_is_computed_again_is_shown_to_the_twin(path: Path) -> None:
    assert verifier.verify(path, POSTERIOR).counts_by_twin == 64
    assert verifier.verify(path, POSTERIOR, fraction=0.25).counts_by_twin == 2 * 1024
    report = verifier.verify(path, POSTERIOR, full=True)
    assert report.counts_by_twin == report.counts_compared == 6 * 2070  # 4,096 of each piece that has so many


def test_the_twin_sees_other_counts_each_time(path: Path) -> None:
    seen: list[Any] = []

    def watched(stream: CountStream, *address: Any) -> Any:
        seen.append([index.tolist() for index in address])
        return twin.counts(stream, *address)

    for seed in (None, None, 3, 3):
        verifier.check(store_for(path).open(path), STREAM, path, fraction=0.01, referee=watched, seed=seed)
    assert seen[0] != seen[1]
    assert seen[2] == seen[3]


def test_a_small_part_is_verified_without_numba(path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("no_kernel")  # once the file is there
    report = verifier.verify(path, POSTERIOR)
    assert report.counts_by_twin == report.counts_compared == 2070


def test_a_kernel_and_a_twin_that_disagree(path: Path) -> None:
    def broken(*address: Any) -> Any:
        return twin.counts(*address) + 1

    with pytest.raises(CorruptSlab, match=r"\(s=\d, n=\d+, t=\d+\) the kernel computes \d+ but its twin \d+"):
        verifier.check(store_for(path).open(path), STREAM, path, fraction=0.01, referee=broken)
