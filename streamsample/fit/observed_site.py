"""What a Pyro model observes, found without observing it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import pyro.distributions as dist

from streamsample.errors import FitError
from streamsample.fit.replay import Draws, Replay
from streamsample.fit.valueless import on_meta, parameters_kept, valueless

FAMILIES = (dist.NegativeBinomial, dist.GammaPoisson, dist.Poisson)

SUPPORTED = (
    "one observation site is supported, NegativeBinomial, GammaPoisson or Poisson, each also zero-inflated, in plates "
    "of cells and features"
)


class Observed(NamedTuple):
    """The law of a model's counts."""

    name: str
    """Of the site."""
    family: type
    """One of `FAMILIES`."""
    zero_inflated: bool
    """Whether further zeros are mixed in."""


def observed_site(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], latents: Draws) -> Observed | None:
    """Tell the law of a model's observation; None if it has no such site (its likelihood may be a ``pyro.factor``).

    The model runs to its end on tensors without values (of the device ``meta``), its own among them, so nothing of the
    data's size is made. One that reads a value off its own data keeps what it computes of these alone; one that needs
    others runs on one draw. Its observation is never executed.

    Raises
    ------
    FitError
        If there are several observation sites, or one that counts of a negative binomial can't be.
    """
    sites = _sites(model, args, kwargs, latents)
    laws = [_base(site["fn"]) for site in sites]
    if len(sites) > 1:
        named = ", ".join(f"{site['name']} ({type(fn).__name__})" for site, fn in zip(sites, laws, strict=True))
        raise FitError(f"the model has {len(sites)} observation sites, {named}; {SUPPORTED}")
    for site, law in zip(sites, laws, strict=True):
        zero_inflated, counts = isinstance(law, dist.ZeroInflatedDistribution), _counts(law)
        if not isinstance(counts, FAMILIES):
            raise FitError(f"the observation {site['name']!r} is {type(law).__name__}; {SUPPORTED}")
        plates = [frame.name for frame in site["cond_indep_stack"]]
        if len(plates) + site["fn"].event_dim > 2:
            raise FitError(f"the observation {site['name']!r} is in nested plates {', '.join(plates)}; {SUPPORTED}")
        return Observed(site["name"], next(known for known in FAMILIES if isinstance(counts, known)), zero_inflated)
    return None


def _sites(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], latents: Draws) -> list[dict[str, Any]]:
    """Messages of the observation sites."""
    for strictly in (True, False):
        with suppress(Exception), valueless(strictly=strictly):  # whatever a model makes of tensors without values
            return Replay(on_meta(latents)).run(partial(model, *on_meta(args), **on_meta(dict(kwargs)))).observations
    with parameters_kept():
        return Replay(latents).run(lambda: model(*args, **kwargs)).observations


def is_count(site: Any) -> bool:
    """Tell whether a distribution is one of counts."""
    return isinstance(_counts(_base(site)), FAMILIES)


def _counts(law: Any) -> Any:
    """Distribution beneath zero inflation."""
    return _base(law.base_dist) if isinstance(law, dist.ZeroInflatedDistribution) else law


def _base(site: Any) -> Any:
    """Distribution beneath masks, expansions and event dimensions; zero inflation stays, as it changes the law."""
    while hasattr(site, "base_dist") and not isinstance(site, dist.ZeroInflatedDistribution):
        site = site.base_dist
    return site
