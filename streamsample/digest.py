"""The digest of a posterior: of everything a count depends on, and the names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.designs import Design
from streamsample.geometry import minibatches

if TYPE_CHECKING:
    from streamsample.parameters import Names
    from streamsample.posterior import Posterior

_CELLS_AT_ONCE = 2**16


def digest(posterior: Posterior) -> str:
    """Compute SHA-256 in a form that no file format changes; see `Posterior.digest`.

    What stream version 1 does not know is hashed only where it is there, so that digests of its posteriors stay.
    """
    facts, cells = posterior.facts, posterior.cells
    sha = hashlib.sha256(f"streamsample-posterior-{facts.stream_version}".encode())
    sizes = [*posterior.shape, facts.ngroups]
    if facts.stream_version > 1:
        sizes += [facts.ncovariates, int(facts.zero_inflated)]
    sha.update(np.array(sizes, dtype="<u8").tobytes())
    _update(sha, cells.size_factor, "<f8")
    _update(sha, cells.group, "<i8")
    for names in (cells.names, facts.feature_names, facts.group_names):
        _update_names(sha, names)
    if cells.design is not None:
        _update_names(sha, facts.covariate_names)
        _update_design(sha, cells.design)
    for s0, s1 in minibatches(facts.nsamples, posterior.samples_per_read()):
        block = posterior.source.read(np.arange(s0, s1))
        for of_sample in zip(*block.arrays, strict=True):
            for array in of_sample:
                _update(sha, array, "<f8")
    return sha.hexdigest()


def _update(sha: Any, array: NDArray[Any], kind: str) -> None:
    """Add the values of an array, little-endian."""
    sha.update(np.ascontiguousarray(array, dtype=kind).data)


def _update_names(sha: Any, names: Names | None) -> None:
    """Add names, and first their number and lengths, so that they can't run into each other."""
    encoded = [] if names is None else [str(name).encode() for name in names]
    sha.update(np.array([len(encoded), *map(len, encoded)], dtype="<u8").tobytes())
    sha.update(b"".join(encoded))


def _update_design(sha: Any, design: Design) -> None:
    """Add the matrix as rows without zeros, so that its form makes no difference."""
    lengths, indices, data = (hashlib.sha256() for _ in range(3))
    for n0, n1 in minibatches(design.shape[0], _CELLS_AT_ONCE):
        starts, columns, values = design.take(np.arange(n0, n1)).rows()
        _update(lengths, np.diff(starts), "<i8")
        _update(indices, columns, "<i8")
        _update(data, values, "<f8")
    for part in (lengths, indices, data):
        sha.update(part.digest())
