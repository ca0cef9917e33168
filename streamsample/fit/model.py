"""The technical model, written in Pyro."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch

from streamsample.fit.start import BETA_RATE, BETA_SHAPE, LOG2_ALPHA_SCALE, Start

LIKELIHOOD_SITE = "counts"

Likelihood = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Technical:
    """Means ``mu * alpha[group] * size_factor`` and total counts ``phi`` of negative-binomial counts.

    Called without a likelihood, it has no observation site at all: nothing of the size of the cells is ever made, so
    the memory of drawing parameters does not depend on their number.
    """

    shape: torch.Tensor
    """(T,) shape of mu's Gamma prior."""
    rate: torch.Tensor
    """(T,) rate of mu's Gamma prior."""
    ngroups: int
    """C."""
    reference: int
    """The group whose alpha is 1."""

    @classmethod
    def of(cls, start: Start, ngroups: int, reference: int, device: torch.device) -> Technical:
        """Make the model with the prior that the data suggest."""
        shape = torch.as_tensor((start.mean / start.sd) ** 2, dtype=torch.float32, device=device)
        rate = torch.as_tensor(start.mean / start.sd**2, dtype=torch.float32, device=device)
        return cls(shape, rate, ngroups, reference)

    def __call__(self, likelihood: Likelihood | None = None) -> None:
        """Run the model; its sites ``mu (1, T)``, ``phi (1, T)`` and ``alpha (C, T)`` are what a posterior keeps."""
        one = torch.ones((), dtype=torch.float32, device=self.shape.device)
        feature = pyro.plate("feature", self.shape.numel(), dim=-1)
        beta_o = pyro.sample("beta_o", dist.Gamma(BETA_SHAPE * one, BETA_RATE * one))
        # A plate of one, so that shapes are (..., groups, T) whatever dimension of samples Predictive puts in front.
        with pyro.plate("all_groups", 1, dim=-2), feature:
            o = pyro.sample("o", dist.Exponential(beta_o))
            mu = pyro.sample("mu", dist.Gamma(self.shape, self.rate))
        phi = pyro.deterministic("phi", o.square().reciprocal())
        alpha = torch.ones_like(mu)
        if self.ngroups > 1:
            with pyro.plate("other_groups", self.ngroups - 1, dim=-2), feature:
                log2_alpha = pyro.sample("log2_alpha", dist.StudentT(3 * one, 0 * one, LOG2_ALPHA_SCALE * one))
            others, r = _power_of_2(log2_alpha), self.reference
            alpha = torch.cat([others[..., :r, :], alpha, others[..., r:, :]], dim=-2)
        pyro.deterministic("alpha", alpha)
        if likelihood is not None:
            pyro.factor(LIKELIHOOD_SITE, likelihood(mu * alpha, phi[0]))


def _power_of_2(exponent: torch.Tensor) -> torch.Tensor:
    """2**exponent, of which no bit depends on where in a tensor a value stands.

    float32 ``torch.exp2`` rounds differently in the remainder of a vectorised loop, so draws would change with the
    minibatch. ``exp`` does not, and float64 would hide it if it did.
    """
    return torch.exp(exponent.double() * math.log(2)).to(exponent.dtype)
