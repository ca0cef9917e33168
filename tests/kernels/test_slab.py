"""The slab kernel's paths agree with each other, on every processor and in every rounding of subnormal numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from streamsample import minibatch
from streamsample.bins import MOST_BINS, lay_out
from streamsample.exact import settle
from streamsample.kernels import columns, gamma, waiting
from streamsample.kernels.philox import uniform_at
from streamsample.kernels.slab import (
    BLOCK,
    NARROW,
    choose_routes,
    fill_by_columns,
    fill_by_feature,
    fill_by_gamma,
    fill_by_rows,
)
from streamsample.posterior import Posterior
from streamsample.slab_work import key_words
from streamsample.stream import CountStream
from tests.kernels.alone import counts_alone

KERNELS = fill_by_rows, fill_by_columns, fill_by_gamma, fill_by_feature


def posterior_like(mean: float, spread: float, phi: float, shape=(2, 240, BLOCK + 40), seed=0) -> Posterior:
    rng = np.random.default_rng(seed)
    nsamples, ncells, nfeatures = shape
    return Posterior.from_arrays(
        rng.lognormal(mean, spread, (nsamples, nfeatures)),
        rng.lognormal(phi, 1.0, (nsamples, nfeatures)),
        rng.lognormal(0, 0.2, (nsamples, 3, nfeatures)),
        size_factor=rng.lognormal(0, 0.4, ncells),
        group=rng.integers(0, 3, ncells),
    )


@pytest.mark.parametrize(
    ("mean", "spread", "phi"),
    [(-1.5, 1.5, 0.5), (-3.5, 1.5, 0.5), (0.0, 1.5, -3.0), (2.0, 1.5, 1.0), (6.0, 2.0, 3.0)],
    ids=["single_cell", "sparse", "heavy_tail", "deep", "bulk"],
)
def test_brackets_narrow_blocks_and_tier_2_agree(mean, spread, phi):
    posterior = posterior_like(mean, spread, phi)
    stream = CountStream(posterior, seed=2**63 + 12345)
    counts = stream[:]
    np.testing.assert_array_equal(counts, counts_alone(stream))
    for t in range(0, stream.shape[2], 97):
        np.testing.assert_array_equal(stream[:, :, t : t + NARROW - 1], counts[:, :, t : t + NARROW - 1])
    np.testing.assert_array_equal(stream[:, :40], counts[:, :40])  # too few cells for brackets


def test_u_at_a_step_goes_through_tier_3():
    """Means are chosen so that each count's u is a step of its CDF to the last bit that float64 has."""
    seed, shape = 99, (1, 24, 40)
    key, phi = key_words(seed), 1.7
    u = np.array([[uniform_at(np.uint64(0), np.uint64(n), np.uint64(t), key) for t in range(40)] for n in range(24)])
    for n in range(shape[1]):
        mu = phi * np.expm1(-np.log(u[n]) / phi)  # F(0) = (1 + m/phi)**-phi = u
        posterior = Posterior.from_arrays(mu[None], np.full((1, 40), phi), n_cells=shape[1])
        minibatch = CountStream(posterior, seed).load(0, 1)
        out = np.zeros(shape, np.uint32)
        minibatch.fill(0, 1, 0, shape[1], out)
        assert minibatch.pending >= 30
        assert out[0, n].tolist() == [settle(float(m), phi, float(v), 0) for m, v in zip(mu, u[n], strict=True)]
        assert set(out[0, n]) <= {0, 1}


def test_more_undecided_counts_than_there_is_room_for(monkeypatch):
    rooms, fill = [], minibatch.fill_slab

    def counted(*arguments):
        rooms.append(arguments[-2])
        return fill(*arguments)

    monkeypatch.setattr(minibatch, "PENDING", 2)
    monkeypatch.setattr(minibatch, "fill_slab", counted)
    test_u_at_a_step_goes_through_tier_3()
    assert rooms[0] == 2
    assert max(rooms) >= 30, "a slab was made once more, with room for all"


def test_a_step_of_any_route_fits_into_the_queue():
    """Nothing checks that when a count is put there."""
    quad = 4
    assert quad * BLOCK <= waiting.STEP
    assert quad * columns.LANES <= waiting.STEP
    assert gamma.LANES + quad * gamma.LANES <= waiting.STEP
    assert 2 ** int(waiting.COLUMN_BITS) > BLOCK


DIGEST = """
import hashlib, json, sys
import torch
from streamsample import slab_work
slab_work.WORTH_COMPILING = 0
if sys.argv[1] == "flush":
    assert torch.set_flush_denormal(True)
from tests.kernels.test_slab import posterior_like
from streamsample.stream import CountStream
digests = [
    hashlib.sha256(CountStream(posterior_like(*regime, shape=shape), seed=7)[:].tobytes()).hexdigest()
    for shape in ((1, 96, 200), (1, 600, 60))
    for regime in ((-1.5, 1.5, 0.5), (0.0, 1.5, -3.0), (2.0, 1.5, 1.0), (6.0, 2.0, 3.0))
]
print(json.dumps(digests))
"""


def digests(flush: bool, **environment: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", DIGEST, "flush" if flush else "gradual"],
        env=os.environ | environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return json.loads(run.stdout)


def test_the_same_bytes_on_a_baseline_processor_and_with_flush_to_zero(tmp_path):
    here = digests(flush=False)
    baseline = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert digests(flush=True, **baseline) == here
    assert digests(flush=True) == here


def test_one_specialisation_a_dtype():
    """Whatever a posterior holds, and however its arrays lie in memory."""
    plain = posterior_like(2.0, 1.0, 0.5, shape=(2, 8, 20))
    block = plain.read(np.arange(2))
    read_only = [np.asfortranarray(array) for array in (block.mu, block.phi, block.alpha)]
    for array in read_only:
        array.flags.writeable = False
    rng = np.random.default_rng(1)
    more = {"beta": rng.normal(0, 0.1, (2, 3, 20)), "design": rng.normal(size=(8, 3)), "zero_inflation": block.mu * 0}
    posteriors = plain, Posterior.from_arrays(*read_only, n_cells=8), Posterior.from_arrays(*read_only[:2], **more)
    for posterior in posteriors:
        for dtype in (np.uint8, np.uint16, np.uint32):
            for features in (slice(None), slice(3, 9)):
                stream = CountStream(posterior).select(features=features)
                stream.load(0, 2).fill(0, 2, 0, 8, np.zeros(stream.shape, dtype))
    dtypes = [signature[-1].dtype.name for kernel in KERNELS for signature in kernel.signatures]
    assert max(map(dtypes.count, dtypes)) <= len(KERNELS)
    assert len({tuple(map(str, s[:-1])) for kernel in KERNELS for s in kernel.signatures}) == 1
    assert len(choose_routes.signatures) == 1


def test_bins_hold_their_cells():
    rng = np.random.default_rng(3)
    factor, group = rng.lognormal(0, 0.5, 5000), rng.integers(0, 4, 5000)
    group[group == 3] = 0  # a group without cells
    layout = lay_out(np.arange(5000), factor, group, 4)
    assert (layout.edges[layout.low_edge] <= factor).all()
    assert (factor <= layout.edges[layout.low_edge + 1]).all()
    assert (layout.low_edge >= layout.starts[group]).all()
    assert (layout.low_edge + 1 < layout.starts[group + 1]).all()
    assert layout.edges.size <= MOST_BINS + 4
