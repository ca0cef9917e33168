"""The settings of a fit, checked before it starts; and how its draws are sized."""

from __future__ import annotations

import torch

from streamsample.budget import Budget
from streamsample.errors import BudgetError, FitError
from streamsample.estimate import predictive_estimate
from streamsample.fit.draw import BLOCK, whole_blocks
from streamsample.fit.extreme import POLICIES
from streamsample.fit.observations import Observations
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


def cpus(budget: Budget | None) -> int:
    """Threads that torch may use: those it is set to, and no more than the budget's CPUs."""
    return min(torch.get_num_threads(), (budget or Budget.detect()).cpus)


def size_draws(
    data: Observations,
    nsamples: int,
    minibatch_size: int | None,
    safety_factor: float | None,
    budget: Budget | None,
) -> tuple[int | None, bool]:
    """Choose how many samples are drawn at a time, and whether in parallel, and show the memory report.

    The estimate is that of an in-memory Predictive, counts included. Where not even one sample of it fits, the draw
    goes on all the same, one block after the other: it holds parameters only.
    """
    try:
        (ncells, nfeatures), ngroups = data.shape, data.ngroups
        estimate = predictive_estimate(
            ncells,
            nfeatures,
            ngroups,
            nsamples,
            minibatch_size=minibatch_size,
            safety_factor=safety_factor,
            budget=budget,
        )
    except BudgetError as error:
        announce([f"[MEMORY] {error}", f"[INFO] Drawing parameters only, {BLOCK} samples at a time (parallel=False)"])
        return BLOCK, False
    size = estimate.minibatch_size
    together = min(whole_blocks(size, nsamples), nsamples)
    compared = (
        "" if estimate.basis == "user" else "That is for comparison, what a Predictive of the counts would take: "
    )
    draws = f"the fit draws parameters only, {together} samples at a time (whole blocks of {BLOCK})"
    announce([*memory_lines(estimate), f"[INFO] {compared}{draws}"])
    return size, estimate.use_parallel
