"""The fit: stochastic variational inference over all cells at once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal, init_to_value
from pyro.optim import ClippedAdam
from torch.distributions import biject_to
from torch.distributions.transforms import Transform

from streamsample.errors import BudgetError, FitError
from streamsample.fit.convergence import FitReport, SmoothedLoss
from streamsample.fit.isolation import isolated
from streamsample.fit.model import Likelihood, Technical
from streamsample.fit.shortage import first_line, is_memory_error
from streamsample.fit.start import Start
from streamsample.report.memory import announce
from streamsample.units import format_seconds

# From the start read off the data, 300 steps with this rate and decay ended within 0.02 posterior standard deviations
# of 300 with a rate of 0.02 on 909 x 12,653 and 96 x 7,126 counts, 600 within 0.1 on the demo's. Without the decay the
# locations still wander by half a standard deviation.
NITERS = 400
LR = 0.05
FORECAST_STEPS = 20  # after which the time of all of them is told
DECAY = 0.02  # the last step's learning rate relative to the first's

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class Normal:
    """The guide of one latent site: normal before a transform, which is the exponential for positive ones."""

    loc: NDArray[np.float32]
    """Locations, in the site's shape."""
    scale: NDArray[np.float32]
    """Standard deviations, likewise."""
    transform: Transform
    """From there to the site's values."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted guide."""

    sites: dict[str, Normal]
    """Of each latent site."""
    report: FitReport
    """How it went."""


def fit(
    model: Technical,
    likelihood: Likelihood,
    start: Start,
    *,
    niters: int | None = None,
    lr: float | None = None,
    tolerance: float = 1e-4,
    seed: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> Fitted:
    """Fit the guide, a normal distribution for every latent value.

    Parameters
    ----------
    model, likelihood, start
        What to fit, to what, from where.
    niters
        Most steps; 400 if left out.
    lr
        Learning rate of the first step, 0.05 if left out; it falls to a fiftieth over `niters` steps.
    tolerance
        Stop when the smoothed loss stays within this fraction of itself for 100 steps; 0 runs every step.
    seed
        Of the noise of the gradients.
    threads
        Of torch.
    progress
        Called with (step, steps, loss).

    Raises
    ------
    BudgetError
        If memory runs out all the same.
    FitError
        If a setting makes no sense, or the loss stops being a number.
    """
    niters, lr = NITERS if niters is None else niters, LR if lr is None else lr
    if niters < 1 or not lr > 0 or not tolerance >= 0:
        raise FitError(f"niters={niters}, lr={lr:g}, tolerance={tolerance:g}: they must be >= 1, > 0 and >= 0")
    times, trend = [time.perf_counter()], SmoothedLoss()
    with isolated(seed, model.shape.device, threads):
        guide = _guide(model, start)
        optimiser = ClippedAdam({"lr": lr, "lrd": DECAY ** (1 / niters), "clip_norm": float("inf")})
        svi = SVI(model, guide, optimiser, Trace_ELBO())
        for step in range(1, niters + 1):
            trend.add(_step(svi, likelihood, step, niters, lr))
            times.append(time.perf_counter())
            if step == FORECAST_STEPS < niters:
                _tell_time(times, niters)
            if progress is not None:
                progress(step, niters, trend.losses[-1])
            if tolerance > 0 and trend.change <= tolerance:
                break
        sites = {name: _site(guide, name) for name in start.values}
    report = FitReport(
        len(trend.losses), niters, tolerance, trend.change, tuple(trend.losses), time.perf_counter() - times[0]
    )
    return Fitted(sites, report)


def _guide(model: Technical, start: Start) -> AutoNormal:
    """Make the guide and put it at the start."""
    device = model.shape.device

    def tensors(values: dict[str, NDArray[np.float64]]) -> dict[str, torch.Tensor]:
        return {name: torch.as_tensor(v, dtype=torch.float32, device=device) for name, v in values.items()}

    guide = AutoNormal(model, init_loc_fn=init_to_value(values=tensors(start.values)))
    guide()  # the first call makes its parameters
    for name, scale in tensors(start.scales).items():
        setattr(guide.scales, name, scale)
    return guide


def _step(svi: SVI, likelihood: Likelihood, step: int, niters: int, lr: float) -> float:
    """Take a step; a loss that is no number ends the fit with advice."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encountered NaN")  # told below, with the way out
            loss = float(svi.step(likelihood))
            went_wrong = None if np.isfinite(loss) else f"the loss became {loss}"
    except ValueError as error:  # torch's check of a distribution's parameters and values
        if not str(error).startswith("Expected"):
            raise
        loss, went_wrong = float("nan"), "a parameter left its domain"
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise BudgetError(
            f"no memory for step {step} of {niters} ({first_line(error)}), although it was planned: others may "
            "have taken it; give a smaller budget (--memory), so that steps take fewer cells"
        ) from error
    if went_wrong is not None:
        raise FitError(
            f"{went_wrong} at step {step} of {niters} with lr={lr:g}; give a smaller one, such as lr={lr / 5:g}, "
            "or leave out features with very few counts (features=)"
        )
    return loss


def _tell_time(times: list[float], niters: int) -> None:
    """Forecast the rest from the first steps; their median, since the very first ones load libraries."""
    step = float(np.median(np.diff(times)))
    taken, left = times[-1] - times[0], (niters - len(times) + 1) * step
    first = f"the first {len(times) - 1} steps took {format_seconds(taken)}, {format_seconds(step)} each in the median"
    announce([f"[INFO] fit: {first}; all {niters:,} take at most another {format_seconds(left)}"])


def _site(guide: AutoNormal, name: str) -> Normal:
    """Copy a site's parameters out of the guide."""
    loc, scale = (getattr(part, name).detach().cpu().numpy().copy() for part in (guide.locs, guide.scales))
    trace: Any = guide.prototype_trace
    return Normal(loc, scale, biject_to(trace.nodes[name]["fn"].support))
