"""The lean likelihood is the negative binomial's log-probability, constants included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from streamsample.fit import likelihood as module
from streamsample.fit.likelihood import CountLikelihood
from streamsample.fit.observations import Observations

CPU = torch.device("cpu")


def observations(largest: int, ncells: int = 241) -> Observations:
    rng = np.random.default_rng(largest)
    counts = rng.negative_binomial(0.7, 1 / (1 + largest / 10), (ncells, 7))
    group = rng.permutation(np.arange(ncells) % 3)
    return Observations(csr_matrix(counts.astype(np.int32)), group, rng.lognormal(0, 0.4, ncells), 3, 0)


def written_out(data: Observations, base: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
    mean = base[torch.as_tensor(data.group)] * torch.as_tensor(data.size_factor)[:, None]
    negbin = torch.distributions.NegativeBinomial(phi, logits=mean.log() - phi.log())
    return negbin.log_prob(torch.as_tensor(data.counts.toarray(), dtype=torch.float64)).sum()


@pytest.mark.parametrize("block_elements", [1, 50, 2**16])
@pytest.mark.parametrize("largest", [3, 1000])
@pytest.mark.parametrize("phi_scale", [0.1, 3.0, 1e4])
def test_value_and_gradients(
    largest: int, phi_scale: float, block_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIT_BLOCK", "_PAIRS", "SORTED_COUNTS"):
        monkeypatch.setattr(module, name, block_elements)
    data, rng = observations(largest), np.random.default_rng(1)
    base = torch.tensor(rng.gamma(2, largest / 20, (3, 7)), dtype=torch.float32, requires_grad=True)
    phi = torch.tensor(rng.gamma(5, phi_scale / 5, 7), dtype=torch.float32, requires_grad=True)
    exact = [x.detach().double().requires_grad_() for x in (base, phi)]
    lean, full = CountLikelihood(data, CPU)(base, phi), written_out(data, *exact)
    lean.backward()
    full.backward()
    assert lean.item() == pytest.approx(full.item(), rel=1e-9)
    assert base.grad is not None
    torch.testing.assert_close(base.grad.double(), exact[0].grad, rtol=1e-6, atol=1e-9)
    # The derivative by log phi is what a fit uses; near the Poisson limit it is a small difference of large numbers.
    by_log = [(x.grad * x).detach().double() for x in (phi, exact[1])]
    torch.testing.assert_close(by_log[0], by_log[1], rtol=1e-6, atol=1e-6)


def test_the_gradient_scales_with_what_comes_after() -> None:
    data = observations(3)
    base, phi = torch.ones((3, 7), requires_grad=True), torch.ones(7, requires_grad=True)
    likelihood = CountLikelihood(data, CPU)
    once = torch.autograd.grad(likelihood(base, phi), base)[0]
    thrice = torch.autograd.grad(-3 * likelihood(base, phi), base)[0]
    torch.testing.assert_close(thrice, -3 * once)


def test_a_step_makes_everything_on_its_device() -> None:
    # Tensors of the device "meta" have no values and mix with those of no other device, as little as a GPU's do.
    meta = torch.device("meta")
    base, phi = (torch.ones(shape, device=meta, requires_grad=True) for shape in ((3, 7), (7,)))
    value = CountLikelihood(observations(3), meta)(base, phi)
    value.backward()
    assert {value.device, base.grad.device, phi.grad.device} == {meta}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_gpu_gives_the_same() -> None:
    data, found = observations(1000), []
    for device in (CPU, torch.device("cuda")):
        base, phi = (torch.ones(shape, device=device, requires_grad=True) for shape in ((3, 7), (7,)))
        value = CountLikelihood(data, device)(base, phi)
        value.backward()
        found.append([x.detach().cpu() for x in (value, base.grad, phi.grad)])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-6, atol=0)
