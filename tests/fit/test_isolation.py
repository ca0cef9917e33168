"""A fit neither uses nor changes what is global in torch, Pyro and NumPy."""

from __future__ import annotations

import random

import numpy as np
import pyro
import torch

from tests.fit.simulate import Truth


def test_global_states_are_left_alone(truth: Truth) -> None:
    pyro.param("of the user", torch.tensor([1.0, 2.0]))
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 (the global one)
    try:
        truth.model().fit_technical(niters=5, nsamples=10)
        assert list(pyro.get_param_store().keys()) == ["of the user"]
        assert pyro.param("of the user").tolist() == [1.0, 2.0]
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        assert random.getstate() == before[2]
        assert torch.get_default_dtype() == torch.float32
    finally:
        pyro.clear_param_store()


def test_global_states_do_not_matter(truth: Truth) -> None:
    digests = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            digests.append(truth.model().fit_technical(niters=5, nsamples=10).digest())
    assert digests[0] == digests[1]


def test_the_seed_does(truth: Truth) -> None:
    a, b = (truth.model().fit_technical(niters=5, nsamples=10, seed=seed).digest() for seed in (1, 2))
    assert a != b


def test_another_default_dtype_changes_nothing(truth: Truth) -> None:
    expected = truth.model().fit_technical(niters=5, nsamples=10).digest()
    torch.set_default_dtype(torch.float64)
    try:
        found = truth.model().fit_technical(niters=5, nsamples=10).digest()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == expected
