"""When a fit may stop, and what it reports."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from streamsample.report.memory import announce

_log = logging.getLogger(__name__)

EWMA = 0.05  # weight of the newest loss in the smoothed one
WINDOW = 100  # steps over which the smoothed loss has to stay: it forgets in 20, so these are five memories


@dataclass(frozen=True)
class FitReport:
    """How a fit went."""

    steps: int
    """Steps taken."""
    niters: int
    """Steps allowed."""
    tolerance: float
    """Relative change of the smoothed loss at which to stop; 0: never."""
    change: float
    """Relative change of the smoothed loss over the last 100 steps."""
    losses: tuple[float, ...]
    """(steps,) negative evidence lower bounds."""
    seconds: float
    """Time taken."""

    @property
    def converged(self) -> bool | None:
        """Whether the smoothed loss came to rest; None where no tolerance was asked for."""
        return self.change <= self.tolerance if self.tolerance > 0 else None

    @property
    def judged(self) -> bool:
        """Whether there were enough steps to compare the smoothed loss with itself."""
        return self.steps > WINDOW

    def tell(self) -> None:
        """Show the line to the user; a fit that did not converge is a warning."""
        if self.converged is False:
            more = "give a larger niters= or tolerance=" if self.judged else f"give niters= above {WINDOW}"
            _log.warning("%s; %s", self.line(), more)
        else:
            announce([f"[INFO] {self.line()}"])

    def line(self) -> str:
        """Tell it in one line."""
        verdict = {True: "converged", False: "NOT converged", None: "ran every step"}[self.converged]
        begin = f"fit: {self.steps} of {self.niters} steps in {self.seconds:.1f} s"
        if not self.judged:
            return f"{begin}, too few to judge whether it converged: the smoothed loss is compared over {WINDOW} steps"
        asked = f" (tolerance {self.tolerance:g})" if self.tolerance > 0 else ""
        return (
            f"{begin}, {verdict}: the smoothed loss changed by {self.change:.1e} of itself{asked} "
            f"over the last {WINDOW} steps"
        )


@dataclass
class SmoothedLoss:
    """Exponentially weighted mean of the losses, and how far it has moved of late."""

    losses: list[float] = field(default_factory=list)
    """Losses as they came."""
    smoothed: list[float] = field(default_factory=list)
    """The mean after each of them."""

    def add(self, loss: float) -> None:
        """Take the loss of one more step."""
        before = self.smoothed[-1] if self.smoothed else loss
        self.losses.append(loss)
        self.smoothed.append(before + EWMA * (loss - before))

    @property
    def change(self) -> float:
        """Range of the smoothed loss over the last 100 steps, relative to it; infinite before there are as many."""
        if len(self.smoothed) <= WINDOW:
            return float("inf")
        recent = self.smoothed[-WINDOW - 1 :]
        return (max(recent) - min(recent)) / max(abs(recent[-1]), 1e-300)
