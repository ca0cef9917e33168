"""Draws that the stream can't take are found when they are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamsample.errors import FitError
from streamsample.fit import draw as module
from streamsample.fit.draw import Draws
from streamsample.fit.extreme import find, meet
from streamsample.posterior import Posterior
from tests.fit.simulate import Truth

LARGEST = np.array([1.5, 2.0, 1.0])
NAMES = np.array(["f0", "f1", "f2", "f3"])
S, C, T = 30, 3, 4


def good() -> Draws:
    rng = np.random.default_rng(0)
    alpha = rng.lognormal(0, 1, (S, C, T)).astype(np.float32)
    alpha[:, 1] = 1
    mu, phi = (rng.gamma(2, 1, (S, T)).astype(np.float32) for _ in range(2))
    return Draws(mu, phi, alpha)


def with_extreme(kind: str) -> Draws:
    draws = good()
    if kind == "alpha":
        draws.alpha[7, 2, 1] = 2.0**100
    elif kind == "mu":
        draws.mu[7, 1] = 1e9
    elif kind == "infinite alpha":
        draws.alpha[7, 0, 1] = np.inf
    elif kind == "phi above":
        draws.phi[7, 1] = 3e12
    elif kind == "phi below":
        draws.phi[7, 1] = 1e-7
    elif kind == "phi rounds below":
        draws.phi[7, 1] = np.float32(1e-6)
    return draws


KINDS = ["alpha", "mu", "infinite alpha", "phi above", "phi below", "phi rounds below"]


def test_usable_draws_are_left_alone() -> None:
    for policy in ("error", "drop-feature", "clip"):
        draws, copy = good(), good()
        assert meet(draws, LARGEST, 1, NAMES, policy).all()
        assert all(np.array_equal(getattr(draws, name), getattr(copy, name)) for name in ("mu", "phi", "alpha"))


def test_poisson_is_no_extreme() -> None:
    draws = good()
    draws.phi[3, 2] = np.inf
    assert not find(draws, LARGEST, NAMES).features.any()


@pytest.mark.parametrize("kind", KINDS)
def test_error_names_the_draw(kind: str) -> None:
    with pytest.raises(FitError, match=r"1 draws of 1 of 4 features .* 'f1' in sample 7: .*on_extreme='drop-feature'"):
        meet(with_extreme(kind), LARGEST, 1, NAMES, "error")


@pytest.mark.parametrize("kind", KINDS)
def test_drop_feature_drops_that_one(kind: str) -> None:
    draws = with_extreme(kind)
    assert meet(draws, LARGEST, 1, NAMES, "drop-feature").tolist() == [True, False, True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_clip_moves_only_that_draw_and_into_the_domain(kind: str) -> None:
    draws, before = with_extreme(kind), with_extreme(kind)
    assert meet(draws, LARGEST, 1, NAMES, "clip").all()
    for name in ("mu", "phi", "alpha"):
        changed = np.argwhere(getattr(draws, name) != getattr(before, name))
        assert {(index[0], index[-1]) for index in changed} <= {(7, 1)}
    # The stream's own check, in its own arithmetic, at the largest size factors.
    Posterior.from_arrays(draws.mu, draws.phi, draws.alpha, size_factor=LARGEST, group=[0, 1, 2])
    assert (draws.alpha[:, 1] == 1).all()
    if "alpha" in kind:
        c = 2 if kind == "alpha" else 0
        mean = float(draws.mu[7, 1]) * float(draws.alpha[7, c, 1]) * LARGEST[c]
        assert 0.999e7 < mean <= 1e7


def test_nan_is_never_clipped() -> None:
    draws = good()
    draws.mu[2, 3] = np.nan
    with pytest.raises(FitError, match=r"NaN can't be clipped \('f3' in sample 2"):
        meet(draws, LARGEST, 1, NAMES, "clip")


@pytest.mark.parametrize("policy", ["error", "drop-feature", "clip"])
def test_a_fit_applies_the_policy(policy: str, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    def wild(*args: object, **kwargs: object) -> Draws:
        draws = original(*args, **kwargs)
        alpha = draws.alpha.copy()
        alpha[3, 2, 5] = 2.0**100
        return replace(draws, alpha=alpha)

    original = module.draw
    monkeypatch.setattr(module, "draw", wild)
    if policy == "error":
        with pytest.raises(FitError, match="outside the stream's domain"):
            truth.model().fit_technical(niters=3, nsamples=10, on_extreme=policy)
        return
    posterior = truth.model().fit_technical(niters=3, nsamples=10, on_extreme=policy)
    assert posterior.fitted.sum() == truth.mu.size - (policy == "drop-feature")
    block = posterior.read(np.arange(10))
    if policy == "drop-feature":
        assert not posterior.fitted[5]
        assert (block.mu[:, 5] == 0).all()
        assert (block.alpha[:, :, 5] == 1).all()
    else:
        assert block.alpha[3, 2, 5] < 2.0**40
