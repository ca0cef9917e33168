"""The stream against plain Python integers and SciPy, and against the golden file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.cells import Cells
from streamsample.geometry import IndexArray, Selection, Shape
from streamsample.parameters import Facts, Parameters
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests import reference
from tests.golden.make import NCELLS
from tests.posteriors import arrays

GOLDEN = Path(__file__).parent / "golden" / "stream-1.txt"
Element = tuple[int, int, int, int, float, float, int]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_reference_has_random123s_known_answers(counter: Any, key: Any, answer: str) -> None:
    assert reference.philox(counter, key) == tuple(int(word, 16) for word in answer.split())


@pytest.mark.parametrize("seed", [0, 7 * 2**40 + 3, 2**64 - 1])
@pytest.mark.parametrize(
    ("shape", "mean"),
    [
        ((3, 11, 7), 3.0),  # narrow: feature by feature
        ((3, 11, 21), 400.0),  # wide, too few cells for brackets
        ((3, 11, 50), 0.7),  # the same, with many zeros
        ((2, 90, 6), 0.7),  # narrow with brackets
        ((2, 90, 20), 0.7),  # wide with brackets
    ],
)
def test_every_count_is_the_references(seed: int, shape: Shape, mean: float) -> None:
    given = arrays(shape, mean=mean)
    expected = reference.counts(seed, given, tuple(range(size) for size in shape))  # type: ignore[arg-type]
    np.testing.assert_array_equal(CountStream(Posterior.from_arrays(**given), seed)[:], expected)


def test_a_selection_cuts_quads_and_keeps_addresses() -> None:
    given = arrays((6, 43, 30), 3)
    address = [4, 1], [2, 3, 5, 9, 17, 18, 19, 42, 30], [29, 3, 4, 11]
    counts = CountStream(Posterior.from_arrays(**given), 5)[address[0], address[1], address[2]]
    np.testing.assert_array_equal(counts, reference.counts(5, given, address))


def golden() -> list[Element]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return [(*(int(i) for i in x[:4]), float.fromhex(x[4]), float.fromhex(x[5]), int(x[6])) for x in lines]  # type: ignore[misc]


@dataclass(frozen=True)
class GoldenDraws:
    """A source of the largest possible sizes, which knows the golden draws only."""

    draws: dict[tuple[int, int], tuple[float, float]]

    def facts(self) -> Facts:
        return Facts(2**32, 2**32, 1, 0, np.dtype(np.float64))

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        assert features is not None
        block = np.array([[self.draws[int(s), int(t)] for t in features] for s in samples])  # (s, t, 2)
        mu, phi = np.ascontiguousarray(np.moveaxis(block, 2, 0))
        return Parameters(mu, phi, np.ones((len(mu), 1, mu.shape[1])))


def golden_counts(elements: list[Element]) -> Iterator[int]:
    """Each golden count, computed alone."""
    cells = Cells(np.ones(NCELLS), np.zeros(NCELLS, dtype=np.int64))
    for seed, s, n, t, m, phi, _ in elements:
        posterior = Posterior(GoldenDraws({(s, t): (m, phi)}), cells)
        address = (np.array([i]) for i in (s, n, t))
        yield int(CountStream(posterior, seed, Selection(*address))[0, 0, 0])


def test_golden_counts_never_change() -> None:
    elements = golden()
    assert len(elements) == 200
    wrong = [(e, y) for e, y in zip(elements, golden_counts(elements), strict=True) if y != e[-1]]
    assert not wrong, "the bytes of the stream have changed: that is a new version of it, not a repair"


def test_the_reference_agrees_with_the_golden_counts() -> None:
    for seed, s, n, t, m, phi, count in golden():
        assert reference.quantile(m, phi, reference.uniform(seed, s, n, t)) == count
