"""The negative binomial as other libraries parametrise it, by the names that they give to its two parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import PosteriorError

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """One parametrisation."""

    parameters: tuple[str, str]
    """Names of its parameters."""
    used_by: str
    """Who has it."""
    convert: Callable[[Array, Array], tuple[Array, Array]] | None = None
    """From the two to mean and total count, in float64; None: they are these."""


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
)


def form_of(parameters: Collection[str]) -> Form:
    """Find the parametrisation that has these parameters.

    Raises
    ------
    PosteriorError
        If there is none; lists those there are.
    """
    for form in FORMS:
        if set(form.parameters) == set(parameters):
            return form
    known = ", ".join(f"({', '.join(form.parameters)})" for form in FORMS)
    raise PosteriorError(f"({', '.join(parameters) or 'nothing'}) is no parametrisation; those known are {known}")
