"""Draws of the parameters from a fitted guide, through Pyro's ``Predictive``, the observation left out."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer import Predictive

from streamsample.errors import BudgetError
from streamsample.fit.isolation import isolated
from streamsample.fit.model import Technical
from streamsample.fit.shortage import first_line, is_memory_error
from streamsample.fit.svi import Normal

logger = logging.getLogger(__name__)

BLOCK = 8
"""Samples that share a seed. A minibatch is a whole number of blocks, so its size changes no draw."""

_SITES = ("mu", "phi", "alpha")


@dataclass(frozen=True, eq=False)
class Draws:
    """Parameter draws in memory."""

    mu: NDArray[np.float32]
    """(S, T)."""
    phi: NDArray[np.float32]
    """(S, T)."""
    alpha: NDArray[np.float32]
    """(S, C, T)."""

    def spread(self, keep: NDArray[np.bool_], among: NDArray[np.bool_]) -> Draws:
        """Put the draws of features `keep` at the places `among` more features.

        The others get ``mu = 0``, ``phi = 1`` and ``alpha = 1``, from which the stream makes zeros.
        """
        if among.all():
            return self
        nsamples, ngroups, _ = self.alpha.shape
        mu, phi = np.zeros((nsamples, among.size), np.float32), np.ones((nsamples, among.size), np.float32)
        alpha = np.ones((nsamples, ngroups, among.size), np.float32)
        mu[:, among], phi[:, among], alpha[:, :, among] = self.mu[:, keep], self.phi[:, keep], self.alpha[:, :, keep]
        return Draws(mu, phi, alpha)


def whole_blocks(minibatch: int | None, nsamples: int) -> int:
    """Round a minibatch down to whole blocks, one at least; None is all samples at once."""
    if minibatch is None:
        return -(-nsamples // BLOCK) * BLOCK
    return max(minibatch // BLOCK, 1) * BLOCK


def draw(
    model: Technical, sites: dict[str, Normal], nsamples: int, *, minibatch: int | None, parallel: bool, seed: int
) -> Draws:
    """Draw parameters.

    Each block of 8 samples has noise of its own, made from (seed, block), and becomes latent values in arrays of always
    the same shape. ``Predictive`` turns these into parameters and adds no noise, so neither `minibatch` nor `parallel`
    changes a draw, and fewer samples are the first of more. Its memory grows with the minibatch and the features, not
    with the cells.

    Parameters
    ----------
    model
        Run without a likelihood.
    sites
        The fitted guide.
    nsamples
        S.
    minibatch
        Samples to draw at a time, rounded down to whole blocks; None is all. It is halved when memory runs out.
    parallel
        What ``Predictive(parallel=...)`` gets: samples as a dimension of the tensors, or one after the other.
    seed
        Of the draws.

    Raises
    ------
    BudgetError
        If there is no memory for a single block.
    """
    device, nfeatures = model.shape.device, model.shape.numel()
    shapes = (nsamples, nfeatures), (nsamples, nfeatures), (nsamples, model.ngroups, nfeatures)
    mu, phi, alpha = (np.empty(shape, dtype=np.float32) for shape in shapes)
    s0, size = 0, whole_blocks(minibatch, nsamples)
    with isolated(seed, device), torch.no_grad():  # Predictive first runs the model once on draws of the prior
        while s0 < nsamples:
            s1 = min(s0 + size, nsamples)
            try:
                found = _some(model, sites, s0, s1, parallel, seed)
                for array, name in zip((mu, phi, alpha), _SITES, strict=True):
                    array[s0:s1] = found[name].cpu().numpy().reshape(array[s0:s1].shape)
            except (MemoryError, RuntimeError) as error:
                size = halved(size, s0, error)  # what is drawn stays, and is what it would have been
            else:
                s0 = s1
    return Draws(mu, phi, alpha)


def _some(
    model: Technical, sites: dict[str, Normal], s0: int, s1: int, parallel: bool, seed: int
) -> dict[str, torch.Tensor]:
    """Draw samples ``s0:s1`` of mu, phi and alpha; `s0` is the first of a block."""
    device = model.shape.device
    blocks = [_latents(sites, seed, block, device) for block in range(s0 // BLOCK, -(-s1 // BLOCK))]
    latents = {name: torch.cat([block[name] for block in blocks])[: s1 - s0] for name in sites}
    found: dict[str, torch.Tensor] = Predictive(model, latents, return_sites=_SITES, parallel=parallel)()
    return found


def halved(minibatch: int, done: int, error: Exception) -> int:
    """Return half a minibatch after a memory error; raise where it is none, or there is nothing left to halve."""
    if not is_memory_error(error):
        raise error
    if minibatch == BLOCK:
        raise BudgetError(
            f"no memory for {BLOCK} draws at a time, after {done} were made ({first_line(error)}); give more "
            "memory, or fewer features or groups"
        ) from error
    gc.collect()  # Pyro's messengers hold what was made so far in cycles
    size = whole_blocks(minibatch // 2, minibatch)
    logger.warning("no memory for %d draws at a time; going on after %d with %d", minibatch, done, size)
    return size


def _latents(sites: dict[str, Normal], seed: int, block: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Latent values of one block, ``(8, ...)`` for each site.

    The noise is NumPy's, which takes (seed, block) whole: torch's CPU generator keeps 32 bits of a seed.
    """
    rng, latents = np.random.default_rng((seed, block)), {}
    for name in sorted(sites):
        site = sites[name]
        noise = rng.standard_normal((BLOCK, *site.loc.shape), dtype=np.float32)
        latents[name] = site.transform(torch.as_tensor(site.loc + site.scale * noise, device=device))
    return latents
