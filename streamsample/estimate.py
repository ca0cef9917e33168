"""What an in-memory posterior predictive would need: the published estimator, in bytes.

It sizes ``pyro.infer.Predictive`` with a drawn observation, which holds float32 arrays of cells by features. The
stream needs none of that (`streamsample.planner` says what it does need); the estimate shows the difference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from streamsample.budget import Budget
from streamsample.budget.host import load_psutil
from streamsample.errors import BudgetError, PlanError
from streamsample.units import GIB

_FLOAT32 = 4
_MAX_MINIBATCH = 100
_MAX_WORKERS = 32
_TRACES_PER_WORKER = 10  # copies of one sample's parameters that a worker's traces hold
_BLIND_MINIBATCH = 50  # where the memory can't be seen


@dataclass(frozen=True)
class Room:
    """How the needs compare with the memory that may be used."""

    budget: Budget
    """What may be used."""
    safety_factor: float
    """Fraction of the budget to plan with."""
    safety_given: bool
    """Whether the user chose it."""
    allowed_nbytes: int
    """Safety factor x budget."""
    workers: int
    """Workers of a parallel run: the CPUs, at most 32."""
    parallel_nbytes: int
    """What they hold together."""
    output_nbytes: int
    """Left for output beside the input."""
    fitting: int
    """Samples that fit there."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return {**asdict(self), "budget": self.budget.to_json()}


@dataclass(frozen=True)
class PredictiveEstimate:
    """Every quantity of the estimate; the lines of `streamsample.report.memory` are made from it."""

    nsamples: int
    """S."""
    input_nbytes: int
    """Counts and size factors, float32: ``(N T + N) 4``."""
    params_nbytes: int
    """Parameters of one sample: ``(C T + 3 T) 4``."""
    output_nbytes: int
    """Output of one sample: ``N T 4``."""
    minibatch_size: int | None
    """Samples in work at a time; None: all of them fit."""
    use_parallel: bool
    """What ``Predictive(parallel=...)`` gets."""
    basis: Literal["computed", "user", "no psutil"]
    """Where the minibatch comes from."""
    room: Room | None = None
    """The comparison with the budget, where the minibatch was computed from it."""

    @property
    def batch(self) -> int:
        """Samples in the largest batch."""
        return min(self.nsamples, self.minibatch_size or self.nsamples)

    @property
    def nbatches(self) -> int:
        """Batches that cover all samples."""
        return -(-self.nsamples // self.batch)

    @property
    def batch_nbytes(self) -> int:
        """Bytes of one batch: the input once, parameters and output of each of its samples."""
        return self.input_nbytes + self.batch * (self.params_nbytes + self.output_nbytes)

    def to_json(self) -> dict[str, Any]:
        """Return every quantity as JSON takes it."""
        derived = {"batch": self.batch, "nbatches": self.nbatches, "batch_nbytes": self.batch_nbytes}
        return {**asdict(self), **derived, "room": None if self.room is None else self.room.to_json()}


def estimate_predictive_memory(
    N: int,
    T: int,
    C: int,
    nsamples: int,
    minibatch_size: int | None = None,
    distribution: str = "negbinom",
    safety_factor: float | None = None,
    budget: Budget | None = None,
) -> tuple[int | None, bool]:
    """Choose minibatch and parallelism of an in-memory ``Predictive``; see `predictive_estimate` for the figures.

    Parameters
    ----------
    N, T, C
        Cells, features, groups.
    nsamples
        Samples to draw.
    minibatch_size
        The user's choice, which is returned as it is.
    distribution
        Only ``"negbinom"``.
    safety_factor
        Fraction of the budget to plan with; 0.7 for a dedicated allocation and 0.35 for a shared node if not given.
    budget
        Detected if not given. Without psutil only one that is stated by hand counts, else the answer is
        ``(50, False)``.

    Returns
    -------
    minibatch_size
        None if all samples fit at once.
    use_parallel
        Whether the workers of a parallel run fit together.

    Raises
    ------
    BudgetError
        If not even one sample fits.
    PlanError
        If a size is not positive, or the distribution is another one.
    """
    estimate = predictive_estimate(N, T, C, nsamples, minibatch_size, distribution, safety_factor, budget)
    return estimate.minibatch_size, estimate.use_parallel


def predictive_estimate(
    N: int,
    T: int,
    C: int,
    nsamples: int,
    minibatch_size: int | None = None,
    distribution: str = "negbinom",
    safety_factor: float | None = None,
    budget: Budget | None = None,
) -> PredictiveEstimate:
    """Work out every quantity behind `estimate_predictive_memory`, which describes the arguments."""
    if distribution != "negbinom":
        raise PlanError(f"distribution {distribution!r} is not estimated; the one there is: 'negbinom'")
    for name, size in {"N": N, "T": T, "C": C, "nsamples": nsamples, "minibatch_size": minibatch_size}.items():
        if size is not None and size < 1:
            raise PlanError(f"{name} is {size}; it must be at least 1")
    needs = (nsamples, (N * T + N) * _FLOAT32, (C * T + 3 * T) * _FLOAT32, N * T * _FLOAT32)
    if minibatch_size is not None:
        return PredictiveEstimate(*needs, minibatch_size, True, "user")
    if (budget is None or budget.detected) and load_psutil() is None:
        return PredictiveEstimate(*needs, _BLIND_MINIBATCH, False, "no psutil")
    budget = Budget.detect() if budget is None else budget
    room = _room(*needs[1:], budget, safety_factor)
    minibatch = None if room.fitting >= nsamples else min(_MAX_MINIBATCH, room.fitting)
    return PredictiveEstimate(*needs, minibatch, room.parallel_nbytes <= room.allowed_nbytes, "computed", room)


def _room(
    input_nbytes: int, params_nbytes: int, output_nbytes: int, budget: Budget, safety_factor: float | None
) -> Room:
    """Compare the needs with a budget; one sample at least must fit."""
    allowed = budget.allowed(safety_factor)
    workers = min(budget.cpus, _MAX_WORKERS)
    left = allowed - input_nbytes
    fitting = left // (params_nbytes + output_nbytes)
    if fitting < 1:
        needed = input_nbytes + params_nbytes + output_nbytes
        factor = budget.safety_factor(safety_factor)
        raise BudgetError(
            f"an in-memory Predictive needs {needed / GIB:.2f} GiB for a single sample but {allowed / GIB:.2f} GiB are "
            f"allowed ({budget.tightest}, safety {factor:g}); give more memory, or fewer cells or features"
        )
    return Room(
        budget=budget,
        safety_factor=budget.safety_factor(safety_factor),
        safety_given=safety_factor is not None,
        allowed_nbytes=allowed,
        workers=workers,
        parallel_nbytes=workers * (input_nbytes + _TRACES_PER_WORKER * params_nbytes),
        output_nbytes=left,
        fitting=fitting,
    )
