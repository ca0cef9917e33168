"""A posterior from any Pyro model whose counts are negative binomial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike, NDArray

from streamsample.errors import FitError
from streamsample.fit.draw import BLOCK, halved, whole_blocks
from streamsample.fit.latents import Blocks, latent_blocks
from streamsample.fit.observed_site import Observed, observed_site
from streamsample.fit.replay import Draws, Replayer, Run
from streamsample.posterior import Posterior

if TYPE_CHECKING:
    from streamsample.cells import Origin

Array = NDArray[Any]

Site = str | float | Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
"""A site's name, a number, or a function of the sites of one sample."""


def draw_posterior(
    model: Any,
    guide_or_mcmc: Any,
    args: Sequence[Any] = (),
    nsamples: int = 1000,
    *,
    mu: Site | None = None,
    phi: Site | None = None,
    alpha: Site | None = None,
    zero_inflation: Site | None = None,
    beta: Site | None = None,
    design: Any = None,
    minibatch_size: int | None = None,
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    size_factor: ArrayLike | None = None,
    group: ArrayLike | None = None,
    n_cells: int | None = None,
    cell_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    group_names: Sequence[str] | None = None,
    covariate_names: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> Posterior:
    """Draw the parameters of a Pyro model's counts; the counts themselves are never drawn, nor their density computed.

    The model runs on the draws of its latent sites until it has what is asked for, and is left before its observation;
    where only latent sites are asked for it does not run at all. Which law the counts have is told by a run on tensors
    without values, also of those that the model has brought along. Memory does not depend on the number of cells,
    unless the model, or its guide, makes something of their size before that, or the model can't run without values
    (one that reads a number off its arguments): then that run is on one draw, of the size of its data.

    Parameters
    ----------
    model
        Pyro model with one observation site: NegativeBinomial, GammaPoisson or Poisson, or one of them zero-inflated.
    guide_or_mcmc
        Its fitted guide, its MCMC, or a dict of draws (S, ...). A guide of Pyro that was never called in this process
        runs the model once, to see its sites; counts are not drawn there either.
    args, kwargs
        What model and guide are called with.
    nsamples
        S. Of MCMC that many draws, evenly spaced.
    mu, phi
        Mean at size factor 1 and total count of each feature: the name of a site (latent or ``pyro.deterministic``), a
        function of the sites such as ``lambda sites: sites["log_mu"].exp()``, or a number. A site has one axis,
        features, beside those of length 1; or none: the same for all. ``phi`` of Poisson counts may be left out, and
        ``mu`` where `beta` gives all of the mean.
    alpha
        Likewise (C, T) or (C, 1), the factor of each group.
    zero_inflation
        Likewise, for each feature or for all, the chance that a count is 0 whatever its mean: Pyro's ``gate``.
    beta
        Likewise (K, T) or (K, 1), the coefficients of the design: means are multiplied by ``exp(design @ beta)``.
    minibatch_size
        Samples whose latent draws are held at a time, in whole blocks of 8; one block if left out. Changes no draw.
    seed
        Of a guide's draws; global random states are neither used nor changed.
    design, size_factor, group, n_cells, cell_names, feature_names, group_names, covariate_names, origin
        As `Posterior.from_arrays` takes them.

    Raises
    ------
    FitError
        If the model observes anything else, is zero-inflated and `zero_inflation` is not given, or the other way
        round; if it has not the sites asked for, or their shapes do not fit.
    PosteriorError
        If values are outside the stream's domain.
    """
    if nsamples < 1:
        raise FitError(f"nsamples is {nsamples}; give at least 1")
    given, named = tuple(args), dict(kwargs or {})
    blocks = latent_blocks(guide_or_mcmc, given, named, nsamples, seed)
    first = {name: value[0] for name, value in blocks(0).items()}
    sites = {"mu": mu, "phi": phi, "alpha": alpha, "zero_inflation": zero_inflation, "beta": beta}
    wanted = _wanted(observed_site(model, given, named, first), sites)

    def run() -> Any:
        return model(*given, **named)

    replayer = Replayer(run, _sites(wanted, run, first))
    minibatch = BLOCK if minibatch_size is None else whole_blocks(minibatch_size, nsamples)
    drawn = _draw(wanted, replayer, blocks, nsamples, minibatch)
    nfeatures = max(array.shape[-1] for array in drawn.values())
    spread = {name: _spread(array, nfeatures) for name, array in drawn.items()}
    return Posterior.from_arrays(
        **spread,
        design=design, size_factor=size_factor, group=group, n_cells=n_cells, cell_names=cell_names,
        feature_names=feature_names, group_names=group_names, covariate_names=covariate_names, origin=origin,
    )  # fmt: skip


def _wanted(observed: Observed | None, sites: Mapping[str, Site | None]) -> dict[str, Site]:
    """Sites that were given, once they are what the observation needs."""
    wanted = {name: site for name, site in sites.items() if site is not None}
    if observed is not None and observed.zero_inflated != ("zero_inflation" in wanted):
        what = f"the observation {observed.name!r} is {'' if observed.zero_inflated else 'not '}zero-inflated"
        way = "give zero_inflation=, the site of its gate" if observed.zero_inflated else "leave zero_inflation= out"
        raise FitError(f"{what}; {way}")
    if "mu" not in wanted and "beta" not in wanted:
        raise FitError("mu= is missing: the site of the means; only where beta= gives all of the mean there is none")
    if "phi" not in wanted:
        if observed is None or observed.family is not dist.Poisson:
            raise FitError("phi= is missing: the site of the total counts; only Poisson counts have none")
        wanted["phi"] = float("inf")
    return wanted


def _sites(wanted: Mapping[str, Site], run: Run, latents: Draws) -> Collection[str]:
    """Names of the sites that are asked for, those that functions look at among them."""
    names = {site for site in wanted.values() if isinstance(site, str)}
    batch = {name: value[None] for name, value in latents.items()}
    for function in (site for site in wanted.values() if callable(site)):
        while True:
            there = Replayer(run, names)(batch)
            asked = _Asked({name: value[0] for name, value in there.items()})
            try:
                function(asked)
                break
            except KeyError:
                if asked.missing is None:  # the function's own
                    raise
                names.add(asked.missing)
    return names


class _Asked(dict[str, torch.Tensor]):
    """Sites that are there, noting the first that is not."""

    missing: str | None = None

    def __missing__(self, name: str) -> torch.Tensor:
        self.missing = name
        raise KeyError(name)


def _draw(
    wanted: Mapping[str, Site], replayer: Replayer, blocks: Blocks, nsamples: int, minibatch: int
) -> dict[str, Array]:
    """(S, T) of what a feature has one of, (S, C, T) and (S, K, T), with T = 1 where it is the same for all."""
    rows: dict[str, list[Array]] = {name: [] for name in wanted}
    s0, size = 0, minibatch
    while s0 < nsamples:
        held: list[Draws] = []
        try:
            held += [blocks(block) for block in range(s0 // BLOCK, -(-min(s0 + size, nsamples) // BLOCK))]
            while held:
                for name, values in _of_block(wanted, replayer(held[0])).items():
                    rows[name] += values
                del held[0]
                s0 += BLOCK
        except (MemoryError, RuntimeError) as error:
            held.clear()
            size = halved(size, s0, error)  # blocks that are finished stay, and are what they would have been
    return {name: np.stack(found[:nsamples]) for name, found in rows.items()}  # the last block may be longer


def _of_block(wanted: Mapping[str, Site], sites: Draws) -> dict[str, list[Array]]:
    """Value of each parameter in each sample of a block."""
    samples = [{name: value[s] for name, value in sites.items()} for s in range(BLOCK)]
    return {name: [_parameter(name, site, sample) for sample in samples] for name, site in wanted.items()}


def _parameter(name: str, site: Site, sites: Draws) -> Array:
    """One sample's value: (T,), (C, T) of alpha, (K, T) of beta; with T = 1 where it is the same for all features."""
    value = sites[site] if isinstance(site, str) else site(sites) if callable(site) else torch.tensor(float(site))
    array = value.detach().cpu().numpy()
    outer = {"alpha": "C", "beta": "K"}.get(name)
    naxes = 1 if outer is None else 2
    while array.ndim > naxes and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != naxes:
        axes = "[T], or one value" if outer is None else f"[{outer}, T] or [{outer}, 1]"
        raise FitError(
            f"{name} of one sample has shape {tuple(value.shape)}, it needs {axes}; give a function of the sites, such "
            f'as {name}=lambda sites: sites["..."]'
        )
    return array


def _spread(array: Array, nfeatures: int) -> Array:
    """Repeat what is the same for all features."""
    if array.shape[-1] not in (1, nfeatures):
        raise FitError(f"the parameters have {array.shape[-1]} and {nfeatures} features; they need the same number")
    return np.array(np.broadcast_to(array, (*array.shape[:-1], nfeatures)))
