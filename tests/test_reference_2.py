"""Stream version 2 by the twin against plain Python floats and mpmath."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import sparse

from streamsample import twin
from streamsample.cells import Cells
from streamsample.designs import Design
from streamsample.errors import PosteriorError
from streamsample.exact import settle
from streamsample.geometry import IndexArray, Selection
from streamsample.parameters import Facts, Parameters
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests import reference_2
from tests.compiled import _twin
from tests.golden.make import NCELLS
from tests.golden.make_2 import Element, K
from tests.posteriors import arrays, second

SHAPE = (3, 11, 6)
LEFT_OUT: list[tuple[str, ...]] = [(), ("zero_inflation",), ("beta", "design"), ("mu",), ("mu", "alpha", "group")]


def axes(shape: tuple[int, int, int]) -> tuple[IndexArray, IndexArray, IndexArray]:
    samples, cells, features = (np.arange(size) for size in shape)
    return samples, cells, features


def by_twin(given: dict[str, Any], seed: int) -> Any:
    stream = CountStream(Posterior.from_arrays(**given), seed)
    return twin.counts(stream, *np.ix_(*axes(stream.shape)))


@pytest.mark.parametrize("left_out", LEFT_OUT)
@pytest.mark.parametrize("seed", [0, 7 * 2**40 + 3])
def test_every_count_is_the_references(left_out: tuple[str, ...], seed: int) -> None:
    given = {name: value for name, value in second(SHAPE).items() if name not in left_out}
    expected = reference_2.counts(seed, given, axes(SHAPE))
    assert expected.max() > 5
    np.testing.assert_array_equal(by_twin(given, seed), expected)


@pytest.mark.parametrize("mean", [0.05, 300.0])
def test_small_and_large_means(mean: float) -> None:
    given = second((2, 9, 5), mean=mean)
    np.testing.assert_array_equal(by_twin(given, 1), reference_2.counts(1, given, axes((2, 9, 5))))


def test_the_form_of_the_design_changes_no_count() -> None:
    given = second(SHAPE, 70)
    given["design"][:, 5:65] = -0.0
    narrow = given | {"design": given["design"][:, :5], "beta": given["beta"][:, :5]}
    expected = by_twin(narrow, 3)
    stored = sparse.csr_matrix(np.where(narrow["design"] == 0, 7.0, narrow["design"]))
    stored.data[stored.data == 7.0] = -0.0  # zeros that are stored
    for design in (sparse.csr_matrix(narrow["design"]), stored):
        np.testing.assert_array_equal(by_twin(narrow | {"design": design}, 3), expected)
    wide = given | {"design": np.hstack([given["design"][:, :65], 0 * given["design"][:, 65:]])}
    np.testing.assert_array_equal(by_twin(wide, 3), expected)


def test_without_effect_it_is_version_1() -> None:
    given = arrays(SHAPE)
    expected = by_twin(given, 5)
    idle = {"beta": np.ones((3, 2, 6)), "design": np.zeros((11, 2)), "zero_inflation": np.zeros((3, 6))}
    np.testing.assert_array_equal(by_twin(given | idle, 5), expected)


def test_a_selection_keeps_addresses() -> None:
    given = second((4, 30, 9))
    chosen = [3, 1], [2, 3, 29, 17, 4], [8, 0, 5]
    counts = CountStream(Posterior.from_arrays(**given), 5)[chosen[0], chosen[1], chosen[2]]
    np.testing.assert_array_equal(counts, reference_2.counts(5, given, chosen))


def exponents() -> list[float]:
    rng = np.random.default_rng(1)
    near = [k * math.log(2) / 2 + d for k in range(-40, 41) for d in (-1e-9, 0.0, 1e-9)]
    ends = [690.0, np.nextafter(690.0, 1e9), 1e300, math.inf, 5e-324, 0.0, 1e-17]
    return [*rng.uniform(-690, 690, 500), *rng.normal(0, 2, 500), *near, *ends, *(-x for x in ends)]


def test_the_exponential_is_the_references_bit_for_bit() -> None:
    for x in exponents():
        assert _twin.exponential(x) == reference_2.exponential(x), x
    assert math.isnan(_twin.exponential(math.nan))


def test_the_exponential_is_one() -> None:
    with mpmath.workdps(40):
        for x in exponents():
            if abs(x) <= 690:
                true = mpmath.exp(mpmath.mpf(float(x)))
                assert abs(mpmath.mpf(_twin.exponential(x)) / true - 1) < 6 * 2.0**-53


INFLATION = [0.0, 5e-324, 1e-300, 1e-12, 0.1, 0.5, 0.999, 1 - 2.0**-53, 1.0]
LEVELS = [2.0**-53, 3 * 2.0**-53, 1e-9, 0.25, 0.5, 0.9, 1 - 1e-9, 1 - 2.0**-53]


@pytest.mark.parametrize("pi", INFLATION)
@pytest.mark.parametrize("phi", [1e-3, 0.7, 1.0, 30.0, 1e12, math.inf])
def test_quantiles_at_the_corners(pi: float, phi: float) -> None:
    levels = [(2 * int(u * 2**52) + 1) * 2.0**-53 for u in LEVELS]
    near = [(2 * int(pi * 2**52) + 1 + 2 * d) * 2.0**-53 for d in (-1, 0, 1)]
    levels += [u for u in near if 0 < u < 1]
    means = [0.0, 1e-300, 1e-9, 1e-3, 0.5, 1.0, 20.0]
    m, u = (np.ravel(x) for x in np.meshgrid(means, levels))
    counts, status = np.empty(m.size, np.int64), np.empty(m.size, np.uint8)
    _twin.quantiles(m, np.full(m.size, phi), u, counts, status, np.full(m.size, pi))
    assert set(status.tolist()) <= {0, 1}
    for i in range(m.size):
        found = int(counts[i])
        if status[i] == 1:
            found = settle(m[i], phi, u[i], found, pi)
        if found < 2000:  # above, the sum would take minutes
            assert found == reference_2.quantile(m[i], phi, pi, u[i]), (m[i], u[i])


def test_a_mean_outside_the_domain_names_its_element() -> None:
    given = second(SHAPE)
    given["zero_inflation"][:] = 1.0  # even where the count is 0 whatever its mean
    given["beta"][:, 0] = 0.0
    given["design"][7, 0], given["beta"][2, 0, 4] = 30.0, 1.0
    given["alpha"][2, :, 4] = 1.0
    stream = CountStream(Posterior.from_arrays(**given))
    with pytest.raises(PosteriorError, match=r"the mean at sample 2, cell 7, feature 4 is .*e\+1\d; .* at most 1e\+07"):
        stream[:]
    assert stream[:2].shape == (2, 11, 6)
    given["design"][7, 0] = 700.0
    with pytest.raises(PosteriorError, match=r"sample 2, cell 7, feature 4 is inf; "):
        CountStream(Posterior.from_arrays(**given))[2, 7, 4]


def test_predictors_far_below_give_zeros() -> None:
    given = second(SHAPE)
    given["design"][:], given["beta"][:], given["zero_inflation"][:] = 1.0, -1e3, 0.0
    assert (by_twin(given, 0) == 0).all()


GOLDEN = Path(__file__).parent / "golden" / "stream-2.txt"


@dataclass(frozen=True)
class GoldenDraws:
    """A source of the largest possible sizes, which knows one golden element only."""

    element: Element

    def facts(self) -> Facts:
        return Facts(2**32, 2**32, 1, 0, np.dtype(np.float64), ncovariates=K, zero_inflated=True)

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        e = self.element
        assert (samples.tolist(), np.asarray(features).tolist()) == ([e.address[1]], [e.address[3]])
        mu, phi, pi = (np.full((1, 1), value) for value in (e.mu, e.phi, e.pi))
        return Parameters(mu, phi, np.full((1, 1, 1), e.alpha), pi, np.reshape(e.beta, (1, K, 1)))


def golden() -> list[tuple[Element, int]]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    found = []
    for line in lines:
        seed, s, n, t = map(int, line[:4])
        reals = [float.fromhex(text) for text in line[4:-1]]
        found.append(
            (Element((seed, s, n, t), *reals[:5], tuple(reals[5 : 5 + K]), tuple(reals[5 + K :])), int(line[-1]))
        )
    return found


def golden_count(e: Element, form: str) -> int:
    """One golden count, computed alone."""
    seed, s, n, t = e.address
    factors, group = np.zeros(NCELLS), np.zeros(NCELLS, dtype=np.int64)
    factors[n] = e.size_factor
    rows = np.zeros((NCELLS, K))
    rows[n] = e.x
    design = Design.of(rows if form == "dense" else sparse.csr_matrix(rows))
    posterior = Posterior(GoldenDraws(e), Cells(factors, group, None, design))
    address = Selection(*(np.array([i]) for i in (s, n, t)))
    return int(CountStream(posterior, seed, address)[0, 0, 0])


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_golden_counts_never_change(form: str) -> None:
    elements = golden()
    assert len(elements) == 121
    wrong = [(e, y) for e, y in elements if golden_count(e, form) != y]
    assert not wrong, "the bytes of the stream have changed: that is a new version of it, not a repair"
