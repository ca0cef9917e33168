"""What a Pyro model observes, found without observing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch

from streamsample.errors import FitError
from streamsample.fit.replay import Draws, Replay

FAMILIES = (dist.NegativeBinomial, dist.GammaPoisson, dist.Poisson)

SUPPORTED = (
    "one observation site is supported, NegativeBinomial, GammaPoisson or Poisson, in plates of cells and features"
)


def observed_family(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], latents: Draws) -> type | None:
    """Family of a model's observation; None if it has no such site (its likelihood may be a ``pyro.factor``).

    The model runs to its end on tensors without values (of the device ``meta``), so nothing of the data's size is made;
    one that needs values runs on one draw. Its observation is never executed.

    Raises
    ------
    FitError
        If there are several observation sites, or one that counts of a negative binomial can't be.
    """
    sites = _sites(model, args, kwargs, latents)
    families = [_base(site["fn"]) for site in sites]
    if len(sites) > 1:
        named = ", ".join(f"{site['name']} ({type(fn).__name__})" for site, fn in zip(sites, families, strict=True))
        raise FitError(f"the model has {len(sites)} observation sites, {named}; {SUPPORTED}")
    for site, family in zip(sites, families, strict=True):
        if not isinstance(family, FAMILIES):
            raise FitError(f"the observation {site['name']!r} is {type(family).__name__}; {SUPPORTED}")
        plates = [frame.name for frame in site["cond_indep_stack"]]
        if len(plates) + site["fn"].event_dim > 2:
            raise FitError(f"the observation {site['name']!r} is in nested plates {', '.join(plates)}; {SUPPORTED}")
        return next(known for known in FAMILIES if isinstance(family, known))
    return None


def _sites(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], latents: Draws) -> list[dict[str, Any]]:
    """Messages of the observation sites."""
    try:
        with pyro.validation_enabled(False), torch.device("meta"):
            there = {name: value.to("meta") for name, value in latents.items()}
            positional, named = _on_meta(args), {name: _on_meta(value) for name, value in kwargs.items()}
            return Replay(there).run(lambda: model(*positional, **named)).observations
    except Exception:  # whatever a model makes of tensors without values
        return Replay(latents).run(lambda: model(*args, **kwargs)).observations


def _on_meta(value: Any) -> Any:
    """Shapes and types of tensors, in tuples, lists and dicts too."""
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, tuple | list):
        return type(value)(_on_meta(item) for item in value)
    if isinstance(value, dict):
        return {key: _on_meta(item) for key, item in value.items()}
    return value


def _base(site: Any) -> Any:
    """Distribution beneath masks, expansions and event dimensions; zero inflation stays, as it changes the law."""
    while hasattr(site, "base_dist") and not isinstance(site, dist.ZeroInflatedDistribution):
        site = site.base_dist
    return site
