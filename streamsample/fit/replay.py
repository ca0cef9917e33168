"""Running a Pyro model on draws of its latent sites, as far as is needed and never through its observation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_factor, site_is_subsample

from streamsample.errors import FitError

Draws = dict[str, torch.Tensor]
Run = Callable[[], Any]
"""The model with its arguments."""

RTOL = 1e-4  # between samples run together and one by one; float32 sums differ by less


class Replay(Messenger):
    """Gives latent sites their drawn values; no site is sampled and no density is computed.

    Parameters
    ----------
    latents
        Value of each latent site.
    wanted
        Sites to keep. The model is left when all are there, and at its observation at the latest, so that what comes
        after never runs. None: nothing is kept and the model runs to its end.
    nesting
        None for one sample. For several, which the values have as their first axis: dimensions of the model's plates,
        to the left of which that axis is put.
    """

    def __init__(self, latents: Draws, wanted: Collection[str] | None = None, nesting: int | None = None) -> None:
        super().__init__()
        self.kept: Draws = {}
        """Values of the wanted sites."""
        self.observations: list[dict[str, Any]] = []
        """Messages of the observation sites that were met."""
        self.nesting = 0
        """Plate dimensions of the sites that were met."""
        self._latents = latents
        self._wanted = None if wanted is None else set(wanted)
        self._samples_left_of = nesting

    def run(self, model: Run) -> Replay:
        """Run a model."""
        try:
            with self, torch.no_grad():
                model()
        except _Left:
            pass
        return self

    def _pyro_sample(self, msg: Any) -> None:
        """Meet a site, before Pyro does anything with it."""
        name, site = msg["name"], msg["fn"]
        if site_is_subsample(msg):
            return
        dims = [-frame.dim for frame in msg["cond_indep_stack"] if frame.vectorized]
        self.nesting = max([self.nesting, len(site.batch_shape), *dims])
        if name in self._latents:
            msg["value"] = self._placed(self._latents[name], site.event_dim)
        elif not (msg["infer"].get("_deterministic") or site_is_factor(msg)):
            self.observations.append(dict(msg))
            if self._wanted is not None:
                raise _Left
            if msg["value"] is None:  # a stand-in without memory, as the site is not run
                msg["value"] = torch.zeros(()).expand(site.shape())
        msg["done"] = True
        if self._wanted is not None and name in self._wanted:
            self.kept[name] = msg["value"]
            if self.kept.keys() == self._wanted:
                raise _Left

    def _placed(self, value: torch.Tensor, event_dim: int) -> torch.Tensor:
        """Put the axis of samples to the left of all plates."""
        if self._samples_left_of is None:
            return value
        missing = self._samples_left_of - (value.dim() - 1 - event_dim)
        return value.reshape(value.shape[0], *[1] * missing, *value.shape[1:])


class _Left(Exception):
    """The model was left."""


class Replayer:
    """Values of sites for blocks of draws, together where the model is seen to allow it, else one by one.

    Whether a model may be run on several draws at once can't be read off it: one that sums over a whole tensor gives
    something else then, and no error. So both ways are tried on the first block whose draws differ in every site: on
    equal ones, of a chain that is stuck, a mean over samples and features looks like one over features.

    Parameters
    ----------
    model
        With its arguments.
    wanted
        Sites, latent ones among them.
    """

    def __init__(self, model: Run, wanted: Collection[str]) -> None:
        self._model = model
        self._wanted = tuple(wanted)
        self._nesting: int | None = None
        self._shapes: dict[str, torch.Size] = {}
        self._together: bool | None = None

    def __call__(self, latents: Draws) -> Draws:
        """Values (B, ...) of the wanted sites for B draws of the latent ones.

        Raises
        ------
        FitError
            If the model has no such site before its observation.
        """
        derived = [name for name in self._wanted if name not in latents]
        found = {name: latents[name] for name in self._wanted if name in latents}
        if not derived:
            return found
        if self._together:
            return found | self._at_once(latents, derived)
        apart = self._one_by_one(latents, derived)
        if self._together is None and all(_differ(value) for value in latents.values()):
            self._together = self._agree(latents, derived, apart)
            return self(latents)  # by the way that all other blocks will go
        return found | apart

    def _one_by_one(self, latents: Draws, derived: list[str]) -> Draws:
        """Run the model for each draw."""
        runs = []
        for s in range(len(next(iter(latents.values())))):
            replay = Replay({name: value[s] for name, value in latents.items()}, derived).run(self._model)
            for name in derived:
                if name not in replay.kept:
                    raise FitError(
                        f"the model has no site {name!r} before its observation; name a latent site, one of "
                        "pyro.deterministic, or a function of such sites"
                    )
            runs.append(replay)
        self._nesting = runs[0].nesting
        self._shapes = {name: runs[0].kept[name].shape for name in derived}
        return {name: torch.stack([replay.kept[name] for replay in runs]) for name in derived}

    def _at_once(self, latents: Draws, derived: list[str]) -> Draws:
        """Run the model once, and give the values the shape that those of one sample have."""
        kept = Replay(latents, derived, self._nesting).run(self._model).kept
        nsamples = len(next(iter(latents.values())))
        return {name: kept[name].reshape(nsamples, *self._shapes[name]) for name in derived}

    def _agree(self, latents: Draws, derived: list[str], apart: Draws) -> bool:
        """Tell whether both ways give the same."""
        try:
            together = self._at_once(latents, derived)
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError):  # whatever a model makes of one axis more
            return False
        return all(torch.allclose(together[name], apart[name], rtol=RTOL, equal_nan=True) for name in derived)


def _differ(values: torch.Tensor) -> bool:
    """Tell whether draws (B, ...) differ by so much that mixing them up is seen."""
    return not torch.allclose(values.double(), values[:1].double(), rtol=10 * RTOL, atol=0.0, equal_nan=True)
