"""The settings of a fit, checked before it starts; and how its draws are sized."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streamsample.budget import Budget
from streamsample.errors import BudgetError, FitError
from streamsample.estimate import predictive_estimate
from streamsample.fit.draw import BLOCK
from streamsample.fit.extreme import POLICIES
from streamsample.report.memory import announce, memory_lines


def check(nsamples: int, seed: int, device: str, on_extreme: str) -> torch.device:
    """Refuse settings that make no sense; return the device.

    Raises
    ------
    FitError
        Naming the setting.
    """
    if nsamples < 1:
        raise FitError(f"nsamples={nsamples}; it must be at least 1")
    if not 0 <= seed < 2**64:
        raise FitError(f"seed={seed}; it must be in [0, 2**64)")
    if on_extreme not in POLICIES:
        raise FitError(f"on_extreme={on_extreme!r}; it must be one of {', '.join(map(repr, POLICIES))}")
    try:
        # Makes a tensor, because the name of a device that is not there can be written all the same,
        # of float64, which the likelihood needs.
        return torch.zeros((), dtype=torch.float64, device=torch.device(device)).device
    except (RuntimeError, AssertionError, TypeError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FitError(f"device={device!r} can't be used ({reason}); give device='cpu'") from None


def cpus(budget: Budget) -> int:
    """Threads that torch may use: those it is set to, and no more than the budget's CPUs."""
    return min(torch.get_num_threads(), budget.cpus)


@dataclass(frozen=True)
class DrawSize:
    """What the published estimate says of drawing, and the lines that report it."""

    most: int | None
    """Samples that an in-memory Predictive would have in work at a time; None: all."""
    parallel: bool
    """What ``Predictive(parallel=...)`` gets."""
    lines: list[str]
    """The memory report."""
    compared: bool
    """Whether the report is of another Predictive than the one that will run."""

    def tell(self, minibatch: int, nsamples: int) -> None:
        """Show the report, and how many samples are drawn at a time in the end."""
        compared = "That is for comparison, what a Predictive of the counts would take: " if self.compared else ""
        draws = f"the fit draws parameters only, {min(minibatch, nsamples)} samples at a time"
        announce([*self.lines, f"[INFO] {compared}{draws} (whole blocks of {BLOCK}, parallel={self.parallel})"])


def size_draws(
    shape: tuple[int, int, int],
    nsamples: int,
    minibatch_size: int | None,
    safety_factor: float | None,
    budget: Budget | None,
) -> DrawSize:
    """Choose how many samples of (N, T, C) are drawn at a time, and whether in parallel, by the published estimate.

    The estimate is that of an in-memory Predictive, counts included. Where not even one sample of it fits, the draw
    goes on all the same, one block after the other: it holds parameters only.
    """
    try:
        estimate = predictive_estimate(
            *shape, nsamples, minibatch_size=minibatch_size, safety_factor=safety_factor, budget=budget
        )
    except BudgetError as error:
        return DrawSize(BLOCK, False, [f"[MEMORY] {error}"], True)
    return DrawSize(
        estimate.minibatch_size, estimate.use_parallel, memory_lines(estimate), compared=estimate.basis != "user"
    )
