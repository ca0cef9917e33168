"""Global states of torch and Pyro, borrowed and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyro
import torch


@contextmanager
def isolated(seed: int, device: torch.device, threads: int = 1) -> Iterator[None]:
    """Seed torch, limit its threads and empty Pyro's parameter store; the caller finds all three as they were.

    Parameters
    ----------
    seed
        Of torch's random numbers on the CPU and on `device`.
    device
        Where torch computes.
    threads
        That torch may use. Threads that wait for each other collapse where others use the CPUs too: on two busy cores a
        step of 20 ms with one thread took 700 ms with two.
    """
    devices = [device] if device.type == "cuda" else []
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) >> 1
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=devices), pyro.get_param_store().scope():
        # Not torch.manual_seed, nor pyro's: they reach generators that are not put back.
        torch.default_generator.manual_seed(state)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(state)
        torch.set_num_threads(min(threads, before))
        try:
            yield
        finally:
            torch.set_num_threads(before)
