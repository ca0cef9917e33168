"""Write ``pymc.nc``: a fit of PyMC with its own predictive counts, as ArviZ saves them.

Run by hand where PyMC is installed (5.28.5 wrote the file that is here); the tests read the file only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymc as pm

N, T = 40, 3
RNG = np.random.default_rng(0)
DEPTH = RNG.lognormal(0.0, 0.4, N).round(3)
MEANS, TOTALS = np.array([0.5, 4.0, 40.0]), np.array([0.8, 3.0, 10.0])
COUNTS = RNG.negative_binomial(TOTALS, TOTALS / (TOTALS + DEPTH[:, None] * MEANS))  # (n, t)


def main() -> None:
    """Fit, predict, save."""
    with pm.Model(coords={"cell": [f"cell{n}" for n in range(N)], "gene": ["STAT1", "CD86", "JAK2"]}):
        depth = pm.Data("depth", DEPTH, dims="cell")
        mu = pm.LogNormal("mu", 0.0, 2.0, dims="gene")
        alpha = pm.LogNormal("alpha", 0.0, 2.0, dims="gene")
        pm.NegativeBinomial("y", mu=mu * depth[:, None], alpha=alpha, observed=COUNTS, dims=("cell", "gene"))
        fit = pm.sample(300, tune=300, chains=2, cores=1, random_seed=1, progressbar=False)
        pm.sample_posterior_predictive(fit, extend_inferencedata=True, random_seed=2, progressbar=False)
    del fit["sample_stats"]
    fit.posterior_predictive["y"] = fit.posterior_predictive["y"].astype("int16")
    packed = {"y": {"zlib": True, "complevel": 9, "shuffle": True}}
    for group in ("posterior", "posterior_predictive", "constant_data"):
        fit[group].to_netcdf(
            Path(__file__).with_name("pymc.nc"),
            mode="w" if group == "posterior" else "a",
            group=group,
            engine="h5netcdf",
            encoding=packed if group == "posterior_predictive" else {},
        )


if __name__ == "__main__":
    main()
