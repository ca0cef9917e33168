"""Any Pyro model becomes a posterior, and its observation never runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch.utils._python_dispatch import TorchDispatchMode

from streamsample.errors import BudgetError, FitError
from streamsample.fit.any_model import draw_posterior
from streamsample.fit.replay import Replay, Replayer
from streamsample.parameters import Parameters
from tests.posteriors import listed

N, T, C = 30, 4, 2
GROUP = torch.arange(N) % C


class Explosive(dist.NegativeBinomial):
    """Counts that nobody may draw, nor compute the density of."""

    def explode(self, *_: Any, **__: Any) -> torch.Tensor:
        raise AssertionError("the observation was executed")

    sample = rsample = log_prob = __call__ = explode


def model(group: torch.Tensor, y: torch.Tensor | None = None, law: Any = Explosive) -> None:
    """Means, dispersions and factors of groups, the ones of group 0 fixed."""
    with pyro.plate("features", T, dim=-1):
        log_mu = pyro.sample("log_mu", dist.Normal(0.0, 1.0))
        spread = pyro.sample("spread", dist.Exponential(1.0))
        phi = pyro.deterministic("phi", 1 / (0.1 + spread))
        with pyro.plate("other_groups", C - 1, dim=-2):
            other = pyro.sample("other", dist.LogNormal(0.0, 0.3))
        alpha = pyro.deterministic("alpha", torch.cat([torch.ones_like(other), other], dim=-2))
        mean = log_mu.exp() * alpha[..., group, :]  # (N, T)
        with pyro.plate("cells", len(group), dim=-2):
            pyro.sample("y", law(total_count=phi, logits=mean.log() - phi.log()), obs=y)


def log_mu_exp(sites: Any) -> torch.Tensor:
    return sites["log_mu"].exp()  # type: ignore[no-any-return]


SITES: dict[str, Any] = {"mu": log_mu_exp, "phi": "phi", "alpha": "alpha"}


@pytest.fixture(autouse=True)
def _no_parameters_of_other_tests() -> None:
    pyro.clear_param_store()


@pytest.fixture
def guide() -> AutoNormal:
    pyro.set_rng_seed(0)
    found = AutoNormal(pyro.poutine.block(model, hide=["y"]), init_scale=0.3)
    found(GROUP, torch.ones(N, T), dist.NegativeBinomial)  # a guide runs the model once, to see its sites
    return found


def test_the_observation_never_executes(guide: AutoNormal) -> None:
    for y in (None, torch.ones(N, T)):
        found = draw_posterior(model, guide, (GROUP, y), 20, **SITES, n_cells=N, group=GROUP.numpy())
        assert found.shape == (20, N, T)
        assert found.facts.ngroups == C
    with pytest.raises(AssertionError, match="was executed"):
        model(GROUP)


def test_a_guide_that_was_never_called_executes_no_observation_either() -> None:
    for hidden in (["y"], []):
        fresh = AutoNormal(pyro.poutine.block(model, hide=hidden), init_scale=0.3)
        found = draw_posterior(model, fresh, (GROUP, None), 20, **SITES, n_cells=N, group=GROUP.numpy())
        assert found.shape == (20, N, T)
        assert set(fresh.prototype_trace.nodes) >= {"log_mu", "spread", "other"}
    with pytest.raises(AssertionError, match="was executed"):
        AutoNormal(pyro.poutine.block(model, hide=["y"]))(GROUP, None)


def test_counts_that_are_latent_are_drawn() -> None:
    def doublets(draw: bool = True) -> None:
        k = pyro.sample("k", dist.Poisson(torch.full((T,), 5.0)).to_event(1))
        if draw:
            pyro.sample("y", Explosive(torch.ones(T), logits=k.log()).to_event(1))

    found = draw_posterior(doublets, lambda: doublets(False), (), 16, mu="k", phi=1.0, n_cells=1)
    assert 3.5 < found.read(np.arange(16)).mu.mean() < 6.5  # 5 standard errors of 64 draws


def test_draws_are_the_guides(guide: AutoNormal) -> None:
    """Means of 2,000 draws of each parameter, 16 comparisons at a false-alarm rate of 1e-4 in all (4.7 deviations)."""
    found = draw_posterior(model, guide, (GROUP,), 2000, **SITES, n_cells=1).read(np.arange(2000))
    loc, scale = guide.locs, guide.scales
    log_mu, other = np.log(found.mu), np.log(found.alpha[:, 1])
    spread = np.log(1 / found.phi - 0.1)
    for values, name in ((log_mu, "log_mu"), (other, "other"), (spread, "spread")):
        at, wide = (getattr(part, name).detach().numpy().reshape(T) for part in (loc, scale))
        assert (np.abs(values.mean(axis=0) - at) < 4.7 * wide / 2000**0.5).all(), name
        assert (np.abs(values.std(axis=0) / wide - 1) < 4.7 / 4000**0.5).all(), name
    assert (found.alpha[:, 0] == 1).all()
    assert abs(np.corrcoef(log_mu.T)[np.triu_indices(T, 1)]).max() < 4.7 / 2000**0.5


def test_minibatches_change_no_draw_and_fewer_samples_are_the_first(guide: AutoNormal) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = draw_posterior(model, guide, (GROUP,), 50, **SITES, n_cells=1, seed=3).digest()
    assert torch.equal(torch.get_rng_state(), before)
    for size in (1, 8, 24, 1000):
        again = draw_posterior(model, guide, (GROUP,), 50, **SITES, n_cells=1, seed=3, minibatch_size=size)
        assert again.digest() == whole
    part = draw_posterior(model, guide, (GROUP,), 11, **SITES, n_cells=1, seed=3).read(np.arange(11))
    np.testing.assert_array_equal(part.alpha, again.read(np.arange(11)).alpha)
    assert draw_posterior(model, guide, (GROUP,), 50, **SITES, n_cells=1, seed=4).digest() != whole


def failing(function: Callable[..., Any], calls: Collection[int], error: Exception) -> Callable[..., Any]:
    """A function that fails at some of its calls, and how often it is called."""
    number = itertools.count(1)

    def call(*args: Any) -> Any:
        if next(number) in calls:
            raise error
        return function(*args)

    return call


def test_a_memory_error_halves_the_minibatch_and_keeps_the_finished_blocks(
    guide: AutoNormal, caplog: pytest.LogCaptureFixture
) -> None:
    def drawn(guide: Callable[..., Any], **sites: Any) -> str:
        caplog.clear()
        options = {**SITES, **sites, "n_cells": 1, "seed": 3, "minibatch_size": 32}
        return draw_posterior(model, guide, (GROUP,), 50, **options).digest()

    whole = drawn(guide)
    assert drawn(failing(guide, {12, 20}, torch.cuda.OutOfMemoryError("CUDA out of memory."))) == whole
    assert caplog.messages == [
        "no memory for 32 draws at a time; going on after 0 with 16",
        "no memory for 16 draws at a time; going on after 0 with 8",
    ]
    # A first call looks for the sites that the function needs, then come 8 of each block.
    assert drawn(guide, mu=failing(log_mu_exp, {12}, MemoryError())) == whole
    assert caplog.messages == ["no memory for 32 draws at a time; going on after 8 with 16"]
    with pytest.raises(BudgetError, match=r"^no memory for 8 draws at a time, after 16 were made"):
        drawn(guide, mu=failing(log_mu_exp, range(20, 99), MemoryError()))
    with pytest.raises(RuntimeError, match="something else"):
        drawn(guide, mu=failing(log_mu_exp, {12}, RuntimeError("something else")))


def test_nothing_of_the_cells_size_is_made(guide: AutoNormal) -> None:
    """Where the model comes to what has the size of the data, its tensors have no values."""
    devices: list[str] = []

    def watched(group: torch.Tensor) -> None:
        def law(total_count: torch.Tensor, logits: torch.Tensor) -> Any:
            devices.append(logits.device.type)
            return Explosive(total_count=total_count, logits=logits)

        model(group, law=law)

    found = draw_posterior(watched, guide, (GROUP,), 40, **SITES, n_cells=1)
    assert set(devices) == {"meta"}
    assert found.digest() == draw_posterior(model, guide, (GROUP,), 40, **SITES, n_cells=1).digest()


class Made(TorchDispatchMode):
    """Notes how many numbers the tensors have that are made elsewhere than on ``meta``."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else [found]:
            if isinstance(value, torch.Tensor) and not value.is_meta:
                Made.largest = max(Made.largest, value.numel())
        return found


MANY = 500
DEPTH = torch.rand(MANY, generator=torch.Generator().manual_seed(3)) + 0.5


LANE = torch.arange(MANY) % 3


class Scaled(torch.nn.Module):
    """Means by a layer of a network, with parameters and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, T)
        self.register_buffer("depth", DEPTH)

    def forward(self, mu: torch.Tensor) -> torch.Tensor:
        return mu * torch.nn.functional.softplus(self.linear(self.depth[:, None]))  # type: ignore[no-any-return]


NET = Scaled()


def with_a_network(mu: torch.Tensor) -> torch.Tensor:
    pyro.module("net", NET)
    return NET(mu)  # type: ignore[no-any-return]


def by_group(mu: torch.Tensor) -> torch.Tensor:
    factor = torch.ones(int(LANE.max()) + 1, T)  # a size that is read off the data
    return mu * factor[LANE] * DEPTH[:, None]


@pytest.mark.parametrize(
    "means", [lambda mu: mu * DEPTH[:, None], with_a_network, by_group], ids=["closure", "network", "size"]
)
def test_what_a_model_has_brought_along_makes_nothing_of_the_cells_size(means: Any) -> None:
    def closed() -> None:
        with pyro.plate("features", T, dim=-1):
            mu, phi = (pyro.sample(name, dist.LogNormal(0.0, 1.0)) for name in ("mu", "phi"))
            weight = pyro.param("weight", lambda: torch.ones(T))
            with pyro.plate("cells", MANY, dim=-2):
                mean = means(mu) * weight
                total = phi + torch.zeros(T, device=DEPTH.device)
                pyro.sample("y", Explosive(total, logits=mean.log() - phi.log()))

    draws = {name: torch.rand(8, T, generator=RNG) for name in ("mu", "phi")}
    Made.largest = 0
    with Made():
        found = draw_posterior(closed, draws, (), 8, mu="mu", phi="phi", n_cells=1)
    assert found.shape == (8, 1, T)
    assert Made.largest < MANY if means is not by_group else Made.largest == MANY  # a view of its own data
    assert list(pyro.get_param_store()) == []  # what a model has put there on meta would break its next run
    assert NET.linear.weight.device.type == "cpu"
    Made.largest = 0
    with Made():  # the check sees them
        Replay({name: value[0] for name, value in draws.items()}).run(closed)
    assert Made.largest == MANY * T


def test_a_run_without_values_reads_parameters_and_leaves_them_alone() -> None:
    pyro.param("rate", torch.full((T,), 2.0), constraint=dist.constraints.positive)

    def stored() -> None:
        phi = pyro.sample("phi", dist.Gamma(1.0, 1.0).expand([T]).to_event(1))
        mu = pyro.deterministic("mu", pyro.param("rate") * phi)
        pyro.sample("y", Explosive(phi, logits=(mu * pyro.param("late", torch.ones(T))).log()).to_event(1))

    draws = {"phi": torch.rand(8, T, generator=RNG)}
    block = draw_posterior(stored, draws, (), 8, mu="mu", phi="phi", n_cells=1).read(np.arange(8))
    np.testing.assert_allclose(block.mu, 2 * draws["phi"], rtol=1e-6)
    assert list(pyro.get_param_store()) == ["rate"]
    assert pyro.param("rate").tolist() == [2.0] * T


RNG = torch.Generator().manual_seed(1)
LATENTS = {"x": torch.rand(80, T, generator=RNG), "z": torch.rand(80, generator=RNG)}


def runs_of(function: Callable[[], None], **sites: Any) -> tuple[int, Parameters]:
    """How often a model runs for 80 samples, and what comes of it."""
    runs = 0

    def counted() -> None:
        nonlocal runs
        runs += 1
        function()

    found = draw_posterior(counted, LATENTS, (), 80, n_cells=1, **sites)
    return runs, found.read(np.arange(80))


def simple(together: bool) -> Callable[[], None]:
    def run() -> None:
        z = pyro.sample("z", dist.Gamma(1.0, 1.0))
        with pyro.plate("features", T, dim=-1):
            x = pyro.sample("x", dist.Gamma(1.0, 1.0))
            scaled = x / x.sum(-1, keepdim=True) if together else x / x.sum()
            m = pyro.deterministic("m", scaled * z)
            with pyro.plate("cells", N, dim=-2):
                pyro.sample("y", Explosive(torch.ones(T), logits=m.log()))

    return run


@pytest.mark.parametrize("together", [True, False])
def test_samples_run_together_only_where_that_changes_nothing(together: bool) -> None:
    runs, block = runs_of(simple(together), mu="m", phi="x")
    x, z = LATENTS["x"].numpy(), LATENTS["z"].numpy()
    np.testing.assert_allclose(block.mu, x / x.sum(-1, keepdims=True) * z[:, None], rtol=1e-6)
    np.testing.assert_array_equal(block.phi, x)
    # One run finds the observation; the first block runs both ways, the other nine once or eight times each.
    assert runs == 1 + (8 + 1 + 10 if together else 8 + 1 + 8 * 10)


@pytest.mark.parametrize("together", [True, False])
def test_a_site_has_the_shape_that_it_has_in_one_sample(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        with pyro.plate("features", T, dim=-1):
            x = pyro.sample("x", dist.Gamma(1.0, 1.0))
            row = pyro.deterministic("row", x[..., None, :] + 1)
            pyro.deterministic("alone", row[..., :1, :1])
            with pyro.plate("cells", N, dim=-2):
                pyro.sample("y", Explosive(torch.ones(T), logits=x.log()))

    seen = set()

    def first(sites: Any) -> torch.Tensor:
        seen.add((sites["row"].shape, sites["alone"].shape))
        return sites["row"][0] * sites["alone"][0, 0]  # type: ignore[no-any-return]

    monkeypatch.setattr(Replayer, "_agree", lambda *_: together)
    runs, block = runs_of(run, mu="x", phi=first)
    assert seen == {((1, T), (1, 1))}
    x = LATENTS["x"].numpy()
    np.testing.assert_allclose(block.phi, (x + 1) * (x[:, :1] + 1), rtol=1e-6)
    assert (runs < 30) == together


def test_draws_of_a_chain_that_is_stuck_decide_nothing() -> None:
    """Divided by the mean of everything: on equal draws that is the mean of each."""

    def run() -> None:
        x = pyro.sample("x", dist.Gamma(1.0, 1.0).expand([T]).to_event(1))
        m = pyro.deterministic("m", x / x.mean())
        pyro.sample("y", Explosive(torch.ones(T), logits=m.log()).to_event(1))

    x = LATENTS["x"].clone()
    x[:10] = x[0]
    x[10:24] = x[0] * (1 + 1e-6 * torch.arange(14)[:, None])  # nor do draws that differ by less than is compared
    block = draw_posterior(run, {"x": x}, (), 80, mu="m", phi="x", n_cells=1).read(np.arange(80))
    np.testing.assert_allclose(block.mu, x / x.mean(-1, keepdim=True), rtol=1e-6)


def test_latent_sites_alone_need_no_run() -> None:
    runs, block = runs_of(simple(True), mu="x", phi=lambda sites: sites["z"] * 2)
    assert runs == 1
    np.testing.assert_array_equal(block.mu, LATENTS["x"])
    np.testing.assert_array_equal(block.phi[:, 1], 2 * LATENTS["z"])


def test_mcmc_gives_evenly_spaced_draws() -> None:
    def small(y: torch.Tensor) -> None:
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
        with pyro.plate("cells", len(y)):
            pyro.sample("y", dist.Poisson(rate).to_event(1), obs=y)

    y = torch.tensor([[1.0, 4.0], [2.0, 7.0], [0.0, 6.0]])
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(small, jit_compile=False), num_samples=40, warmup_steps=20, disable_progbar=True)
    mcmc.run(y)
    found = draw_posterior(small, mcmc, (y,), 20, mu="rate", n_cells=3)
    drawn = mcmc.get_samples()["rate"].numpy()
    np.testing.assert_array_equal(found.read(np.arange(20)).mu, drawn[::2])
    assert np.isposinf(found.read(np.arange(20)).phi).all()
    with pytest.raises(FitError, match="50 samples are asked for, 40 draws are there"):
        draw_posterior(small, mcmc, (y,), 50, mu="rate", n_cells=3)


def test_a_guide_with_a_joint_law_and_scalars() -> None:
    def scalar() -> None:
        mu, phi = pyro.sample("mu", dist.Gamma(2.0, 1.0)), pyro.sample("phi", dist.Gamma(2.0, 1.0))
        with pyro.plate("cells", N):
            pyro.sample("y", dist.GammaPoisson(phi, phi / mu), obs=torch.ones(N))

    guide = AutoDiagonalNormal(scalar)
    found = draw_posterior(scalar, guide, (), 10, mu="mu", phi="phi", alpha=lambda _: torch.ones(3, 2), n_cells=2)
    assert found.shape == (10, 2, 2)
    block = found.read(np.arange(10))
    assert (block.mu[:, 0] == block.mu[:, 1]).all()
    assert np.unique(block.phi).size == 10


def two_families() -> None:
    model(GROUP)
    pyro.sample("cell_size", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))


def normal() -> None:
    pyro.sample("mu", dist.Gamma(1.0, 1.0))
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


def nested() -> None:
    with pyro.plate("a", 2, dim=-3), pyro.plate("b", 3, dim=-2), pyro.plate("c", 4, dim=-1):
        pyro.sample("y", Explosive(torch.ones(2, 3, 4), logits=torch.zeros(2, 3, 4)))


def inflated_binomial() -> None:
    law = dist.Binomial(torch.tensor(3), torch.tensor(0.5))
    pyro.sample("y", dist.ZeroInflatedDistribution(law, gate=torch.tensor(0.1)))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            two_families,
            r"2 observation sites, y \(Explosive\), cell_size \(Normal\); one observation site is supported",
        ),
        (normal, "the observation 'y' is Normal; one observation site is supported"),
        (nested, "the observation 'y' is in nested plates a, b, c; "),
        (inflated_binomial, "the observation 'y' is ZeroInflatedDistribution; one observation site is supported"),
    ],
)
def test_other_observations_are_refused(run: Any, message: str) -> None:
    latents = {
        "mu": torch.ones(4),
        "log_mu": torch.ones(4, T),
        "spread": torch.ones(4, T),
        "other": torch.ones(4, 1, T),
    }
    with pytest.raises(FitError, match=message) as error:
        draw_posterior(run, latents, (), 4, mu="mu", phi="mu", n_cells=1)
    assert "plates of cells and features" in str(error.value)


class ExplosiveZeros(dist.ZeroInflatedNegativeBinomial):
    """Zero-inflated counts that nobody may draw."""

    sample = log_prob = __call__ = Explosive.explode


LATE = torch.linspace(-1.0, 1.0, N)


def log_linear(inflated: bool = True) -> None:
    """An intercept and a slope for each feature, and, unless it is left out, a gate for each."""
    with pyro.plate("features", T, dim=-1):
        base, slope = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in ("base", "slope"))
        phi = pyro.sample("phi", dist.LogNormal(0.0, 1.0))
        gate = pyro.sample("gate", dist.Beta(1.0, 1.0)) if inflated else None
        with pyro.plate("cells", N, dim=-2):
            logits = base + slope * LATE[:, None] - phi.log()
            law = Explosive(phi, logits=logits) if gate is None else ExplosiveZeros(phi, logits=logits, gate=gate)
            pyro.sample("y", law, obs=torch.ones(N, T))


COEFFICIENTS: dict[str, Any] = {
    "phi": "phi",
    "beta": lambda sites: torch.stack([sites["base"], sites["slope"]]),
    "design": np.stack([np.ones(N), LATE], axis=1),
    "covariate_names": ["intercept", "late"],
}


def latents_of(*names: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.rand(12, T, generator=generator) for name in names}


def test_coefficients_and_zero_inflation_are_sites_too() -> None:
    latents = latents_of("base", "slope", "phi", "gate")
    found = draw_posterior(log_linear, latents, (), 12, zero_inflation="gate", **COEFFICIENTS)
    assert found.shape == (12, N, T)
    assert listed(found.facts.covariate_names) == ["intercept", "late"]
    block = found.read(np.arange(12))
    assert (block.mu == 1).all()
    np.testing.assert_array_equal(block.beta, torch.stack([latents["base"], latents["slope"]], 1))
    np.testing.assert_array_equal(block.zero_inflation, latents["gate"])


def test_zero_inflated_poisson_counts_need_no_total() -> None:
    def poisson() -> None:
        rate = pyro.sample("rate", dist.Gamma(1.0, 1.0).expand([T]).to_event(1))
        pyro.sample("y", dist.ZeroInflatedPoisson(rate, gate=torch.tensor(0.25)).to_event(1), obs=torch.ones(T))

    found = draw_posterior(poisson, latents_of("rate"), (), 12, mu="rate", zero_inflation=0.25, n_cells=1)
    block = found.read(np.arange(12))
    assert np.isposinf(block.phi).all()
    np.testing.assert_array_equal(block.zero_inflation, np.full((12, T), 0.25))


def test_zero_inflation_is_asked_for_where_it_is_and_only_there() -> None:
    latents = latents_of("base", "slope", "phi", "gate")
    with pytest.raises(FitError, match="the observation 'y' is zero-inflated; give zero_inflation=, the site of its"):
        draw_posterior(log_linear, latents, (), 12, **COEFFICIENTS)
    with pytest.raises(FitError, match="the observation 'y' is not zero-inflated; leave zero_inflation= out"):
        draw_posterior(lambda: log_linear(False), latents, (), 12, zero_inflation="gate", **COEFFICIENTS)


def late() -> None:
    mu = pyro.sample("mu", dist.Gamma(1.0, 1.0))
    y = pyro.sample("y", Explosive(mu, logits=mu))
    pyro.deterministic("after", y + 1)


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ({"mu": "after", "phi": "mu"}, "the model has no site 'after' before its observation"),
        ({"mu": lambda s: s["no"], "phi": "mu"}, "the model has no site 'no' before its observation"),
        ({"mu": "mu"}, "phi= is missing"),
        ({"phi": "mu"}, "mu= is missing"),
        ({"phi": "mu", "beta": lambda _: torch.ones(3)}, r"beta of one sample has shape \(3,\), it needs \[K, T\] or"),
        ({"mu": lambda _: torch.ones(2, 2), "phi": "mu"}, r"mu of one sample has shape \(2, 2\), it needs \[T\]"),
        ({"mu": "mu", "phi": "mu", "alpha": lambda _: torch.ones(3)}, r"alpha of one sample has shape \(3,\)"),
        ({"mu": lambda _: torch.ones(2), "phi": lambda _: torch.ones(3)}, "have 2 and 3 features"),
        ({"mu": "mu", "phi": "mu", "nsamples": 0}, "nsamples is 0"),
    ],
)
def test_sites_that_do_not_fit_are_one_line(sites: dict[str, Any], message: str) -> None:
    draws = SimpleNamespace(get_samples=lambda: {"mu": torch.ones(4)})
    with pytest.raises(FitError, match=message):
        draw_posterior(late, draws, **({"nsamples": 4, "n_cells": 1} | sites))


def test_a_functions_own_error_is_not_taken_for_a_site() -> None:
    with pytest.raises(KeyError, match="mine"):
        draw_posterior(late, {"mu": torch.ones(4)}, (), 4, mu=lambda _: {}["mine"], phi="mu", n_cells=1)
