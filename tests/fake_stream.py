"""A stream whose counts are plain arithmetic on their indices: for tests of planning, storing and checking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsample.errors import CountOverflow
from streamsample.geometry import IndexArray, Selection
from streamsample.posterior import Posterior


def fake_posterior(shape: tuple[int, int, int], *, ngroups: int = 1, named: bool = True) -> Posterior:
    """A posterior of the given ``(S, N, T)`` whose values differ everywhere."""
    nsamples, ncells, nfeatures = shape
    mu = 0.5 + np.arange(nsamples * nfeatures, dtype=np.float64).reshape(nsamples, nfeatures) / (nsamples * nfeatures)
    alpha = np.ones((nsamples, ngroups, nfeatures)) * (1 + np.arange(ngroups))[None, :, None]
    return Posterior.from_arrays(
        mu.astype(np.float32),
        np.full((nsamples, nfeatures), 3.0, dtype=np.float32),
        alpha.astype(np.float32),
        size_factor=np.linspace(0.5, 1.5, ncells),
        group=np.arange(ncells) % ngroups,
        cell_names=[f"cell{n}" for n in range(ncells)] if named else None,
        feature_names=[f"gene{t}" for t in range(nfeatures)] if named else None,
    )


def fake_counts(seed: int, samples: IndexArray, cells: IndexArray, features: IndexArray) -> Any:
    """(s, n, t) counts below 251, of indices into the posterior."""
    s, n, t = np.ix_(samples, cells, features)
    return ((seed % 251 + 7919 * s + 104729 * n + 31 * t) % 251).astype(np.uint32)


@dataclass(frozen=True)
class FakeMinibatch:
    """A few samples of a `FakeStream`."""

    stream: FakeStream
    s0: int
    s1: int

    def fill(self, s0: int, s1: int, n0: int, n1: int, out: Any) -> None:
        """Fill `out` with the counts at these positions of the selection."""
        assert self.s0 <= s0 < s1 <= self.s1, "a slab outside its minibatch"
        assert out.shape == (s1 - s0, n1 - n0, self.stream.shape[2])
        assert out.flags.c_contiguous
        self.stream.fills.append((s0, s1, n0, n1))
        chosen = self.stream.selection
        counts = fake_counts(self.stream.seed, chosen.samples[s0:s1], chosen.cells[n0:n1], chosen.features)
        if self.stream.fails_at is not None and s0 <= self.stream.fails_at[0] < s1:
            raise self.stream.fails_at[1]
        if counts.max(initial=0) > np.iinfo(out.dtype).max:
            raise CountOverflow("a count does not fit")
        out[...] = counts


@dataclass(frozen=True)
class FakeStream:
    """The public face of a `CountStream` as far as a run needs it."""

    posterior: Posterior
    seed: int = 0
    chosen: Selection | None = None
    fails_at: tuple[int, BaseException] | None = None
    """Sample at which filling raises, and what."""
    fills: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Every slab filled."""

    @property
    def selection(self) -> Selection:
        """What is selected."""
        return Selection.of(self.posterior.shape) if self.chosen is None else self.chosen

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, N, T)."""
        return self.selection.shape

    def load(self, s0: int, s1: int) -> FakeMinibatch:
        """Take some samples."""
        return FakeMinibatch(self, s0, s1)

    def counts(self) -> Any:
        """All of them."""
        return fake_counts(self.seed, self.selection.samples, self.selection.cells, self.selection.features)
