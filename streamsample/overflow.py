"""Which unsigned integer type holds every count, decided from the parameters alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, pdtrc

from streamsample.domain import MEAN_MAX
from streamsample.errors import PlanError
from streamsample.geometry import IndexArray, minibatches
from streamsample.parameters import FloatArray
from streamsample.posterior import Posterior
from streamsample.reach import Reach, bound, reach_of

DTYPES = ("uint8", "uint16", "uint32")
ACCEPTED = 1e-9
"""Chance, over all counts of the posterior together, that one of them does not fit."""

# A block of parameters and its temporaries (about six arrays) stay near 24 MiB, so that deciding on the type
# takes less memory than the streaming that follows.
_BLOCK_NBYTES = 4 * 2**20
# Rows whose bound alone is this small can't matter: 1e12 of them sum to a thousandth of what is accepted.
_NEGLIGIBLE = 1e-24


@dataclass(frozen=True)
class DtypeChoice:
    """The narrowest type that does, and the chances behind the choice."""

    dtype: str
    """``uint8``, ``uint16`` or ``uint32``."""
    chance: float
    """Upper bound of the chance that any count of the posterior overflows it."""
    wider_because: str
    """The row that rules out the next narrower type; empty for uint8."""
    promised: bool = True
    """Whether the chance is as small as accepted; not where a design's bound says nothing of the widest type."""

    @property
    def reason(self) -> str:
        """One line for the plan."""
        if not self.promised:
            return f"the bounds of the design's means don't promise that it holds every count; {self.wider_because}"
        fits = f"chance of any overflow below {max(self.chance, 1e-300):.1g} (accepted: {ACCEPTED:g})"
        return f"{fits}; {self.wider_because}" if self.wider_because else fits


@dataclass(frozen=True)
class _Rows:
    """The (s, c, t) of one group in one block of samples."""

    samples: IndexArray
    group: int
    cells: int
    mean: FloatArray  # (s, t) at the group's largest size factor, or a bound of all its cells' means
    phi: FloatArray  # (s, t)


def log_tail_bound(x: float, mean: FloatArray, phi: FloatArray) -> FloatArray:
    """Chernoff's bound of ``log P(Y >= x)`` for negative binomial counts.

    Parameters
    ----------
    x
        A count.
    mean, phi
        Arrays of one shape; ``phi == inf`` is Poisson.

    Returns
    -------
    FloatArray
        ``-x log(x/m) + (x + phi) log((x + phi)/(m + phi))`` where ``m < x``, otherwise 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = x - mean
        # log1p keeps the digits that (x + phi)/(m + phi) loses where phi is 1e12 and x is 256.
        spread = np.where(np.isinf(phi), excess, (x + phi) * np.log1p(excess / (mean + phi)))
        exponent = spread - x * np.log(x / mean)
    return np.where(mean <= 0, -np.inf, np.where(mean < x, np.minimum(exponent, 0.0), 0.0))


def tail(x: float, mean: FloatArray, phi: FloatArray) -> FloatArray:
    """``P(Y >= x)`` itself, by the incomplete beta function (Poisson: incomplete gamma)."""
    poisson = np.isinf(phi)
    finite = np.where(poisson, 1.0, phi)
    exact = np.where(poisson, pdtrc(x - 1, mean), betainc(x, finite, mean / (mean + finite)))
    return np.where(mean > 0, exact, 0.0)


def narrowest_dtype(posterior: Posterior, dtypes: Sequence[str] = DTYPES) -> DtypeChoice:
    """Find the narrowest type that holds all counts of a posterior, for every seed and selection.

    For every (s, c, t) the chance of an overflow is bounded at the largest size factor of the group's cells and
    multiplied by their number; the sum must stay below `ACCEPTED`. Draws are read a few samples at a time. With a
    design a bound of the means takes the place of the largest one (`streamsample.reach`); where it is too wide for a
    promise the widest type is taken, and a run reports an overflow if there is one. Zero inflation only makes counts
    smaller.

    Parameters
    ----------
    posterior
        Parameter draws and cells.
    dtypes
        Types to choose from, narrowest first.

    Raises
    ------
    PlanError
        If the widest does not do, without a design; names how many rows are too much, and the worst.
    """
    widest = dtypes[-1]
    sums = dict.fromkeys(dtypes, 0.0)
    culprits: dict[str, str] = {}
    too_likely = 0  # rows that already alone rule out the widest type
    for rows in _rows(posterior):
        for dtype in dtypes:
            if dtype in culprits and dtype != widest:
                continue
            chances = _chances(rows, dtype)
            sums[dtype] += float(chances.sum())
            if sums[dtype] >= ACCEPTED:
                culprits.setdefault(dtype, _worst(rows, dtype, posterior))
            if dtype == widest:
                too_likely += int((chances >= ACCEPTED).sum())
    for i, dtype in enumerate(dtypes):
        if dtype not in culprits:
            return DtypeChoice(dtype, sums[dtype], culprits[dtypes[i - 1]] if i else "")
    if posterior.facts.ncovariates:
        return DtypeChoice(widest, min(sums[widest], 1.0), culprits[widest], promised=False)
    raise PlanError(
        f"{too_likely} rows (s, c, t) have counts that overflow {widest} with a chance of {ACCEPTED:g} or more: "
        f"{culprits[widest]}; drop such features, or fit them again"
    )


def _rows(posterior: Posterior) -> Iterator[_Rows]:
    """Read the draws in small blocks, and split them by group."""
    cells = np.bincount(posterior.cells.group, minlength=posterior.facts.ngroups)
    largest, reaches = posterior.largest_size_factor(), _reaches(posterior)
    for s0, s1 in minibatches(posterior.facts.nsamples, posterior.samples_per_read(_BLOCK_NBYTES)):
        samples = np.arange(s0, s1)
        block = posterior.read(samples)
        for c in map(int, np.flatnonzero(cells)):
            if block.beta is None:
                mean = block.mu * block.alpha[:, c] * largest[c]
            else:
                with np.errstate(divide="ignore"):
                    logs = np.log(block.mu) + np.log(block.alpha[:, c]) + bound(reaches[c], block.beta)
                mean = np.exp(np.fmin(logs, np.log(MEAN_MAX)))  # one that is larger is an error when it is met
            yield _Rows(samples, c, int(cells[c]), mean, block.phi)


def _reaches(posterior: Posterior) -> dict[int, Reach]:
    """Bounds for the cells of each group that has any; none where there is no design."""
    of = posterior.cells
    if of.design is None:
        return {}
    members = {int(c): np.flatnonzero(of.group == c) for c in np.unique(of.group)}
    return {c: reach_of(of.design.take(some), of.size_factor[some]) for c, some in members.items()}


def _chances(rows: _Rows, dtype: str) -> FloatArray:
    """(s, t) expected numbers of overflows in a block: exact where the bound is not negligible."""
    x = float(np.iinfo(dtype).max) + 1
    bound = np.exp(log_tail_bound(x, rows.mean, rows.phi))
    matters = bound > _NEGLIGIBLE
    bound[matters] = np.fmin(tail(x, rows.mean[matters], rows.phi[matters]), bound[matters])
    return rows.cells * bound


def _worst(rows: _Rows, dtype: str, posterior: Posterior) -> str:
    """Name the row of a block that is most likely to overflow."""
    chances = log_tail_bound(float(np.iinfo(dtype).max) + 1, rows.mean, rows.phi)
    # Several rows may have their mean beyond the limit, where the bound is 0 alike: take the largest of those.
    ties = np.where(chances == chances.max(), rows.mean, -1.0)
    row, t = (int(i) for i in np.unravel_index(np.argmax(ties), ties.shape))
    names = posterior.facts.feature_names
    feature = f"t={t}" if names is None else f"t={t}, {names[t]}"
    return (
        f"{dtype} is too narrow at (s={int(rows.samples[row])}, c={rows.group}, {feature}): "
        f"mean {'up to ' if posterior.facts.ncovariates else ''}{rows.mean[row, t]:.3g}, phi {rows.phi[row, t]:.3g}"
    )
