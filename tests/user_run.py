"""A program like a user's, for tests that watch it from outside: it plans, tells the plan, and runs.

python -m tests.user_run counts.npy '{"shape": [4, 1000, 1000], "dtype": "uint32"}'
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import streamsample as ss
from streamsample.budget import Budget
from streamsample.run import Progress


def make_posterior(
    shape: tuple[int, int, int], ngroups: int, mean: float, named: bool, covariates: int = 0, density: float = 1.0
) -> ss.Posterior:
    """Draws with small means, most of whose counts are 0, so that there are many of them a second.

    A design of so many `covariates` has values that are not 0 in a part of its places, `density`.
    """
    nsamples, ncells, nfeatures = shape
    rng = np.random.default_rng(0)
    linear: dict[str, Any] = {}
    if covariates:
        values = 0.1 * rng.standard_normal((ncells, covariates))
        linear["design"] = np.where(rng.random(values.shape) < density, values, 0.0)
        linear["beta"] = np.float32(0.1) * rng.standard_normal((nsamples, covariates, nfeatures), np.float32)
    return ss.Posterior.from_arrays(
        np.float32(mean) * rng.standard_gamma(1.0, (nsamples, nfeatures), np.float32),
        np.float32(0.5) + rng.standard_gamma(4.0, (nsamples, nfeatures), np.float32),
        None if ngroups == 1 else rng.standard_gamma(9.0, (nsamples, ngroups, nfeatures), np.float32) / np.float32(9.0),
        size_factor=rng.lognormal(0.0, 0.3, ncells),
        group=np.arange(ncells) % ngroups,
        cell_names=[f"ACGTACGTACGTACGT-{n}" for n in range(ncells)] if named else None,
        feature_names=[f"ENSG{t:011d}" for t in range(nfeatures)] if named else None,
        **linear,
    )


def main(
    path: str,
    *,
    shape: tuple[int, int, int],
    compression: str = "auto",
    dtype: str = "uint16",
    ngroups: int = 1,
    mean: float = 0.1,
    named: bool = False,
    covariates: int = 0,
    density: float = 1.0,
    memory: int | None = None,
    threads: int | None = None,
    minibatch: int | None = None,
    everything: bool = False,
) -> None:
    """Print the plan as JSON, then the counts done after each slab.

    Parameters
    ----------
    memory
        The budget in bytes; detected, like any user's, if not given.
    everything
        Compute all counts in memory first, and hold them until a controller that looks once a second has seen it: what
        the plan is there to avoid.
    """
    stream = ss.CountStream(make_posterior(shape, ngroups, mean, named, covariates, density), seed=0)
    budget = None if memory is None else Budget(memory, 2)
    plan = ss.plan(
        stream, path, budget=budget, threads=threads, minibatch_size=minibatch, dtype=dtype, compression=compression
    )
    print(json.dumps(plan.to_json()), flush=True)
    if everything:
        held = np.empty(shape, dtype)
        stream.load(0, shape[0]).fill(0, shape[0], 0, shape[1], held)
        time.sleep(4)

    def tell(event: Progress) -> None:
        print(event.counts_done, flush=True)

    ss.sample(stream, path, plan=plan, progress=tell)


if __name__ == "__main__":
    options: dict[str, Any] = json.loads(sys.argv[2])
    main(sys.argv[1], **{**options, "shape": tuple(options["shape"])})
