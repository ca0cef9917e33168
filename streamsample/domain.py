"""The domain that the stream is defined on, and the check that draws are within it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.parameters import FloatArray, Parameters

PHI_MIN, PHI_MAX = 1e-6, 1e12  # docs/design.md; phi may also be inf
MEAN_MAX = 1e7


def check_values(block: Parameters, samples: IndexArray, features: IndexArray | None, largest: FloatArray) -> None:
    """Check the stream's domain: 0 <= m <= 1e7, phi in [1e-6, 1e12] or inf, zero_inflation in [0, 1], nothing NaN.

    With a beta the means follow from the design, cell by cell: they are checked where counts are computed.

    Parameters
    ----------
    block
        Draws.
    samples, features
        (s,) and (t,) indices that they were read with; features are None for all of them.
    largest
        (C,) largest size factor of each group.

    Raises
    ------
    PosteriorError
        If a value is outside; names how many and the first (s, t).
    """

    def refuse(bad: NDArray[np.bool_], values: FloatArray, what: str, rule: str) -> None:
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            t = at[-1] if features is None else int(features[at[-1]])
            raise PosteriorError(
                f"{what} must be {rule}: {int(bad.sum())} of {bad.size} values are not, "
                f"the first is {values[at]:g} at (s={int(samples[at[0]])}, t={t})"
            )

    refuse(~(np.isfinite(block.mu) & (block.mu >= 0)), block.mu, "mu", "finite and at least 0")
    phi_ok = ((block.phi >= PHI_MIN) & (block.phi <= PHI_MAX)) | np.isposinf(block.phi)
    refuse(~phi_ok, block.phi, "phi", f"in [{PHI_MIN:g}, {PHI_MAX:g}] or inf")
    if block.zero_inflation is not None:
        chance_ok = (block.zero_inflation >= 0) & (block.zero_inflation <= 1)
        refuse(~chance_ok, block.zero_inflation, "zero_inflation", "in [0, 1]")
    if block.beta is not None:
        for k in range(block.beta.shape[1]):
            beta = block.beta[:, k]
            refuse(~np.isfinite(beta), beta, f"beta of covariate {k}", "finite")
    for c, factor in enumerate(largest):
        alpha = block.alpha[:, c]
        refuse(~(np.isfinite(alpha) & (alpha >= 0)), alpha, f"alpha of group {c}", "finite and at least 0")
        if block.beta is not None:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # inf, and inf * 0, are refused below
            mean = block.mu * alpha * factor
        what = f"the mean at group {c}'s largest size factor {factor:g}"
        refuse(~(mean <= MEAN_MAX), mean, what, f"at most {MEAN_MAX:g}")
