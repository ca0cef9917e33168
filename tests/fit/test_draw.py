"""Draws: the same for any minibatch, and without the observation site."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch
from torch.distributions import biject_to, constraints

from streamsample.fit import draw as module
from streamsample.fit.draw import Draws, draw, whole_blocks
from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.model import LIKELIHOOD_SITE, Technical
from streamsample.fit.svi import Normal
from tests.fit.simulate import Truth

T, C = 37, 3


@pytest.fixture
def model() -> Technical:
    return Technical(torch.ones(T), torch.ones(T), C, 1)


@pytest.fixture
def sites() -> dict[str, Normal]:
    rng = np.random.default_rng(0)

    def normal(shape: tuple[int, ...], support: constraints.Constraint) -> Normal:
        loc, scale = rng.normal(size=shape), rng.uniform(0.1, 1, size=shape)
        return Normal(loc.astype(np.float32), scale.astype(np.float32), biject_to(support))

    positive = constraints.nonnegative
    return {
        "beta_o": normal((), positive),
        "o": normal((1, T), positive),
        "mu": normal((1, T), positive),
        "log2_alpha": normal((C - 1, T), constraints.real),
    }


def same(a: Draws, b: Draws) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("mu", "phi", "alpha"))


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("minibatch", [1, 8, 13, 24, 100, None])
def test_no_minibatch_changes_a_bit(
    model: Technical, sites: dict[str, Normal], minibatch: int | None, parallel: bool
) -> None:
    whole = draw(model, sites, 50, minibatch=None, parallel=True, seed=3)
    assert same(draw(model, sites, 50, minibatch=minibatch, parallel=parallel, seed=3), whole)


def test_fewer_samples_are_the_first_of_more(model: Technical, sites: dict[str, Normal]) -> None:
    few, many = (draw(model, sites, n, minibatch=16, parallel=True, seed=3) for n in (11, 40))
    assert same(few, Draws(many.mu[:11], many.phi[:11], many.alpha[:11]))


def test_blocks_and_seeds_differ(model: Technical, sites: dict[str, Normal]) -> None:
    # The second seed agrees with the first in its lower 32 bits, which is all that torch's own generator would use.
    a, b = (draw(model, sites, 16, minibatch=None, parallel=True, seed=seed).mu for seed in (5, 5 + 2**40))
    assert np.unique(a).size == a.size
    assert not np.intersect1d(a, b).size


def test_draws_follow_the_guide(model: Technical, sites: dict[str, Normal]) -> None:
    # Means of 4,000 draws, at 5 standard errors: one false alarm in 10,000 runs of other seeds.
    draws = draw(model, sites, 4000, minibatch=1000, parallel=True, seed=0)
    logs = {
        "mu": np.log(draws.mu)[:, None],
        "o": -0.5 * np.log(draws.phi)[:, None],
        "log2_alpha": np.log2(draws.alpha[:, [0, 2]]),
    }
    for name, values in logs.items():
        site = sites[name]
        assert (np.abs(values.mean(axis=0) - site.loc) < 5 * site.scale / np.sqrt(4000)).all()
        np.testing.assert_allclose(values.std(axis=0), site.scale, rtol=5 / np.sqrt(8000))
    assert (draws.alpha[:, 1] == 1).all()


def test_whole_blocks() -> None:
    assert [whole_blocks(size, 1000) for size in (1, 8, 15, 100, None)] == [8, 8, 8, 96, 1000]
    assert whole_blocks(None, 11) == 16


def test_the_model_without_likelihood_has_no_observation_site(model: Technical) -> None:
    assert LIKELIHOOD_SITE not in pyro.poutine.trace(model).get_trace()
    seen = pyro.poutine.trace(model).get_trace(lambda base, phi: base.sum() + phi.sum())
    assert LIKELIHOOD_SITE in seen


def test_the_observation_site_never_executes_when_drawing(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = []
    original_call, original_draw = CountLikelihood.__call__, module.draw

    def counted(self: CountLikelihood, base: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        executed.append("fit")
        return original_call(self, base, phi)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the observation site was executed")

    def guarded(*args: object, **kwargs: object) -> Draws:
        with monkeypatch.context() as patch:
            patch.setattr(CountLikelihood, "__call__", refuse)
            patch.setattr(pyro, "factor", refuse)
            patch.setattr(torch.distributions.NegativeBinomial, "sample", refuse)
            with pytest.raises(AssertionError, match="was executed"):
                pyro.factor("this proves that the guard is in place", torch.zeros(()))
            return original_draw(*args, **kwargs)

    monkeypatch.setattr(CountLikelihood, "__call__", counted)
    monkeypatch.setattr(module, "draw", guarded)
    posterior = truth.model().fit_technical(niters=3, nsamples=20)
    assert posterior.shape[0] == 20
    assert len(executed) == 3  # once a step, and never again


def test_no_tensor_of_a_draw_knows_the_cells(model: Technical) -> None:
    # Whatever the number of cells: the model that draws holds (T,) tensors only and its sites end in T.
    for name, node in pyro.poutine.trace(model).get_trace().nodes.items():
        if node["type"] == "sample" and name not in ("beta_o", "feature", "all_groups", "other_groups"):
            assert node["value"].shape[-1] == T
            assert node["value"].numel() <= C * T
