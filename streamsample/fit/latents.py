"""Draws of a model's latent sites, a block at a time: from a guide, from MCMC, or from draws that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_subsample

from streamsample.errors import FitError
from streamsample.fit.draw import BLOCK
from streamsample.fit.replay import Draws
from streamsample.fit.unexecuted import counts_unexecuted
from streamsample.geometry import IndexArray

Blocks = Callable[[int], Draws]
"""Values (8, ...) of each latent site in a block."""


def latent_blocks(
    guide_or_mcmc: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], nsamples: int, seed: int
) -> Blocks:
    """Where a block's draws of the latent sites come from.

    Parameters
    ----------
    guide_or_mcmc
        Guide: run once a sample, with noise that depends on (seed, block) only. MCMC that has run, or a dict of draws
        (S, ...): `nsamples` of them, evenly spaced.
    args, kwargs
        What the guide is called with.
    nsamples
        S of all blocks together.
    seed
        Of a guide's draws.

    Raises
    ------
    FitError
        If there are fewer draws than samples, or none.
    """
    if hasattr(guide_or_mcmc, "get_samples"):
        guide_or_mcmc = guide_or_mcmc.get_samples()
    if isinstance(guide_or_mcmc, Mapping):
        return _chosen(guide_or_mcmc, nsamples)
    if getattr(guide_or_mcmc, "prototype_trace", ...) is None:  # a guide of Pyro that has not seen its model yet
        with _seeded(seed, 0), torch.no_grad(), counts_unexecuted():
            _run(guide_or_mcmc, args, kwargs)

    def block(number: int) -> Draws:
        with _seeded(seed, number), torch.no_grad():
            runs = [_run(guide_or_mcmc, args, kwargs) for _ in range(BLOCK)]
        return {name: torch.stack([run[name] for run in runs]) for name in runs[0]}

    return block


def _chosen(draws: Mapping[str, torch.Tensor], nsamples: int) -> Blocks:
    """Blocks of draws that are there; the last is filled up with the last draw."""
    there = min((len(value) for value in draws.values()), default=0)
    if nsamples > there:
        raise FitError(f"{nsamples} samples are asked for, {there} draws are there; give nsamples={there} at most")
    rows: IndexArray = np.arange(nsamples) * there // nsamples

    def block(number: int) -> Draws:
        places = np.minimum(np.arange(number * BLOCK, (number + 1) * BLOCK), nsamples - 1)
        chosen = torch.as_tensor(rows[places])
        return {name: torch.as_tensor(value)[chosen] for name, value in draws.items()}

    return block


def _run(guide: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draws:
    """Values of a guide's sample sites in one run."""
    sites = poutine.trace(guide).get_trace(*args, **kwargs).nodes
    return {
        name: site["value"]
        for name, site in sites.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }


@contextmanager
def _seeded(seed: int, block: int) -> Iterator[None]:
    """Seed torch for one block; the caller finds its generators as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    state = int(np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0]) >> 1
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(state)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(state)
        yield
