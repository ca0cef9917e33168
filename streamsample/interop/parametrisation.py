"""The negative binomial as other libraries parametrise it, by the names that they give to its parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import PosteriorError

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """One parametrisation."""

    parameters: tuple[str, ...]
    """Names of its parameters; one is the mean of Poisson counts."""
    used_by: str
    """Who has it."""
    convert: Callable[[Array, Array], tuple[Array, Array]] | None = None
    """From the two to mean and total count, in float64; None: they are these."""

    def mean_and_total(self, given: Mapping[str, Array]) -> tuple[Array, Array]:
        """Mean and total count of parameters under their names; a mean that is not there is 1."""
        *first, last = self.parameters
        if not first:
            return given[last], np.full_like(given[last], np.inf)
        pair = given.get(first[0], np.ones_like(given[last])), given[last]
        return pair if self.convert is None else self.convert(*pair)


def _inverse(mean: Array, dispersion: Array) -> tuple[Array, Array]:
    """Variance ``mean + dispersion * mean**2``; no dispersion is Poisson."""
    with np.errstate(divide="ignore"):
        return mean, 1.0 / dispersion


def _probs(total_count: Array, probs: Array) -> tuple[Array, Array]:
    """Number of successes of probability `probs` before `total_count` failures."""
    return total_count * (probs / (1.0 - probs)), total_count


def _logits(total_count: Array, logits: Array) -> tuple[Array, Array]:
    """As `_probs`, with the log of the odds."""
    return total_count * np.exp(logits), total_count


def _failures(n: Array, p: Array) -> tuple[Array, Array]:
    """Number of failures before `n` successes of probability `p`."""
    return n * ((1.0 - p) / p), n


MEANS = ("mu", "mean")
"""What the mean is called where it is one of the two."""

FORMS = (
    Form(("mu", "phi"), "Stan neg_binomial_2, PyMC NegativeBinomial(mu, alpha)"),
    Form(("mean", "total_count"), "the words of this package's papers"),
    Form(("mean", "concentration"), "NumPyro NegativeBinomial2"),
    Form(("mu", "theta"), "scvi-tools NegativeBinomial"),
    Form(("mean", "dispersion"), "edgeR, DESeq2, statsmodels", _inverse),
    Form(("mu", "dispersion"), "the same", _inverse),
    Form(("total_count", "probs"), "Pyro, PyTorch, NumPyro NegativeBinomialProbs", _probs),
    Form(("total_count", "logits"), "Pyro, PyTorch, NumPyro NegativeBinomialLogits", _logits),
    Form(("n", "p"), "SciPy nbinom, PyMC NegativeBinomial(n, p)", _failures),
    Form(("rate",), "Poisson of Pyro, PyTorch, NumPyro, Stan; PyMC calls it mu"),
)


@dataclass(frozen=True)
class Inflation:
    """One way to tell the chance that a count is 0 whatever its mean."""

    parameter: str
    """Its name."""
    used_by: str
    """Who has it."""
    convert: Callable[[Array], Array] | None = None
    """To that chance, in float64; None: it is this."""


def _not(probability: Array) -> Array:
    """The chance of the opposite."""
    return 1.0 - probability


def _logistic(logits: Array) -> Array:
    """The chance of which `logits` is the log of the odds."""
    from scipy.special import expit

    return np.asarray(expit(logits))


INFLATIONS = (
    Inflation("zero_inflation", "this package"),
    Inflation("gate", "Pyro, NumPyro ZeroInflatedNegativeBinomial(gate)"),
    Inflation("gate_logits", "the same, with gate_logits", _logistic),
    Inflation("psi", "PyMC ZeroInflatedNegativeBinomial(psi), the chance of the negative binomial", _not),
    Inflation("zi_probs", "scvi-tools ZeroInflatedNegativeBinomial"),
    Inflation(
        "zi_logits", "scvi-tools ZeroInflatedNegativeBinomial(zi_logits), whose networks call it px_dropout", _logistic
    ),
)


def form_of(parameters: Collection[str], *, needs_mean: bool = True) -> Form:
    """Find the parametrisation that has these parameters.

    Parameters
    ----------
    parameters
        Names of the two, or of the one.
    needs_mean
        Whether the mean must be among them; where coefficients of a design give all of it, it may be left out.

    Raises
    ------
    PosteriorError
        If there is none; lists those there are.
    """
    for form in FORMS:
        given, (first, *others) = set(parameters), form.parameters
        if given == {first, *others} or (others and not needs_mean and first in MEANS and given == {*others}):
            return form
    known = ", ".join(f"({', '.join(form.parameters)})" for form in FORMS)
    raise PosteriorError(f"({', '.join(parameters) or 'nothing'}) is no parametrisation; those known are {known}")


def inflation_of(parameters: Iterable[str]) -> Inflation | None:
    """Find the way in which zero inflation is told among these parameters, None where it is not.

    Raises
    ------
    PosteriorError
        If it is told in two ways.
    """
    given = set(parameters)
    found = [way for way in INFLATIONS if way.parameter in given]
    if len(found) > 1:
        raise PosteriorError(f"zero inflation is given as {' and '.join(way.parameter for way in found)}; give one")
    return found[0] if found else None
