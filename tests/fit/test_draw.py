"""Draws: the same for any minibatch, and without the observation site."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyro
import pytest
import torch
from torch.distributions import biject_to, constraints

from streamsample.errors import BudgetError
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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("not enough memory: you tried to allocate 9 bytes."),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
    ],
)  # fmt: skip
def test_a_memory_error_halves_the_minibatch_and_keeps_what_is_drawn(
    error: Exception,
    model: Technical,
    sites: dict[str, Normal],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = draw(model, sites, 100, minibatch=None, parallel=True, seed=3)
    original, tried = module.Predictive, []

    def short_of_memory(model: Technical, latents: dict[str, torch.Tensor], **options: object) -> object:
        size = latents["mu"].shape[0]
        tried.append(size)
        if size > (40 if len(tried) < 3 else 16):
            raise error
        return original(model, latents, **options)

    monkeypatch.setattr(module, "Predictive", short_of_memory)
    assert same(draw(model, sites, 100, minibatch=64, parallel=True, seed=3), whole)
    assert tried == [64, 32, 32, 16, 16, 16, 16, 4]
    assert caplog.messages == [
        "no memory for 64 draws at a time; going on after 0 with 32",
        "no memory for 32 draws at a time; going on after 32 with 16",
    ]


def test_no_memory_for_a_block_is_a_line(
    model: Technical, sites: dict[str, Normal], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 8 GiB")

    monkeypatch.setattr(module, "Predictive", never)
    with pytest.raises(BudgetError, match=r"^no memory for 8 draws .* 0 were made \(Unable to .*\); give more memory"):
        draw(model, sites, 100, minibatch=32, parallel=True, seed=3)


def test_other_errors_are_not_taken_for_want_of_memory(
    model: Technical, sites: dict[str, Normal], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(module, "Predictive", broken)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        draw(model, sites, 100, minibatch=32, parallel=True, seed=3)


# Address space is limited to what is mapped after a first small draw, and a little more.
LIMITED = """
import hashlib, logging, resource, sys
import numpy as np, torch
from torch.distributions import biject_to, constraints
from streamsample.fit.draw import draw
from streamsample.fit.model import Technical
from streamsample.fit.svi import Normal

logging.basicConfig(level="WARNING", format="%(message)s")
T, S = 20_000, 256
rng = np.random.default_rng(0)
def normal(shape, support):
    return Normal(rng.normal(size=shape).astype("f4"), np.full(shape, 0.1, "f4"), biject_to(support))
positive = constraints.nonnegative
sites = {"beta_o": normal((), positive), "o": normal((1, T), positive), "mu": normal((1, T), positive),
         "log2_alpha": normal((1, T), constraints.real)}
model = Technical(torch.ones(T), torch.ones(T), 2, 0)
draw(model, sites, 8, minibatch=8, parallel=True, seed=0)
if sys.argv[1] == "limited":
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    room = mapped + 4 * 4 * S * T + 80 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
draws = draw(model, sites, S, minibatch=S, parallel=True, seed=0)
print([hashlib.sha256(array).hexdigest() for array in (draws.mu, draws.phi, draws.alpha)])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux enforces a limit of the address space")
def test_a_real_shortage_gives_the_same_draws() -> None:
    answers = []
    for limit in ("limited", "unlimited"):
        run = subprocess.run(
            [sys.executable, "-c", LIMITED, limit],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert ("no memory for 256 draws at a time; going on after" in run.stderr) is (limit == "limited")
        answers.append(run.stdout)
    assert answers[0] == answers[1]
