"""What a run holds in memory: every quantity named, in bytes, in one place."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from streamsample.bins import MOST_BINS
from streamsample.errors import PlanError
from streamsample.geometry import Selection, Shape
from streamsample.minibatch import PENDING, UNITS_A_THREAD
from streamsample.parameters import Names
from streamsample.posterior import Posterior
from streamsample.units import MIB, format_bytes

SLABS_IN_FLIGHT = 2
"""One slab is computed while the one before it is written."""

PIECE_NBYTES = 8 * MIB
"""Written with one call (2 GB/s; 16 MiB and 32 MiB are not faster)."""
DIRTY_WINDOW_NBYTES = 2 * PIECE_NBYTES
"""Written bytes that go to the disk together: pushed as soon as they are a piece or more, so less than two."""
WINDOWS_IN_FLIGHT = 2
"""One window is being filled while the one before it is synced."""

BLOCK = 512
"""Features that a thread has in work (`kernels.slab`, which is not imported for as long as nothing is computed)."""
_TABLE_NBYTES = 2 * 4 * 4 * BLOCK  # of one edge of a bin: two bounds of four levels, uint32
_WAITING_NBYTES = 14 * 8 * 1024  # doubtful counts that a thread collects: 14 rows of 1,024
_RECORDS_NBYTES = PENDING * (3 * 8 + 2)  # a unit's room for undecided counts, and the mask that picks those used

CHECK_NBYTES = 400
"""A line of the table of checksums as Python objects (325 measured), and a share of the lists that hold them."""

# Anonymous memory that a process gains, measured with Numba 0.68, h5py 3.16 and SciPy 1.17 on Linux, x86-64.
_IMPORTS = {"numba": 30 * MIB, "scipy": 16 * MIB, "h5py": 6 * MIB, "mpmath": 4 * MIB}
_COMPILED_KERNELS = 90 * MIB  # 82 more are held by a process that compiles them than by one that finds them on disk
ALL_LIBRARIES_NBYTES = sum(_IMPORTS.values()) + _COMPILED_KERNELS
_ALLOCATOR_SLACK = 0.05  # heap that is free but not returned, as a share of everything else


@dataclass(frozen=True)
class Quantity:
    """One line of the memory model."""

    name: str
    """What it is."""
    nbytes: int
    """How much, at its largest."""
    why: str
    """Where the number comes from."""


@dataclass(frozen=True)
class ParameterFacts:
    """What the plan must know of a posterior and a selection of it; no draws."""

    nsamples: int
    """S of the selection."""
    ncells: int
    """N of the selection."""
    nfeatures: int
    """T of the selection."""
    ngroups: int
    """C."""
    dtype: str = "uint16"
    """Integer type that holds the counts."""
    dtype_reason: str = "assumed"
    """Why that one."""
    stored_features: int | None = None
    """T of the posterior, of which whole samples are read; None: as selected."""
    stored_nbytes: int | None = None
    """Size of a sample's parameters as stored; None: float64."""
    names_nbytes: int = 0
    """Names of the selected cells and features, in all the forms that they pass through on the way to a file."""

    @classmethod
    def of(cls, posterior: Posterior, selection: Selection) -> ParameterFacts:
        """Take the facts of a selection; the type of its counts is for `overflow.narrowest_dtype` to find.

        Raises
        ------
        PlanError
            If nothing is selected.
        """
        if 0 in selection.shape:
            raise PlanError(f"the selection holds no counts: it has shape {selection.shape}")
        facts = posterior.facts
        names = _names_nbytes(posterior.cells.names, selection.cells.size)
        names += _names_nbytes(facts.feature_names, selection.features.size)
        return cls(
            *selection.shape,
            facts.ngroups,
            stored_features=facts.nfeatures,
            stored_nbytes=facts.bytes_per_sample,
            names_nbytes=names,
        )

    @property
    def shape(self) -> Shape:
        """(S, N, T) of the selection."""
        return self.nsamples, self.ncells, self.nfeatures

    @property
    def sample_nbytes(self) -> int:
        """Most that one sample of a minibatch takes while it is read.

        float64 mu, phi and alpha of all stored features, the stored form beside them, three arrays (s, t) to
        check them, and the selected features' own copy.
        """
        stored = self.stored_features or self.nfeatures
        block = 8 * (2 + self.ngroups)
        as_stored = block * stored if self.stored_nbytes is None else self.stored_nbytes
        return block * stored + as_stored + 3 * 8 * stored + block * self.nfeatures


def _names_nbytes(names: Names | None, size: int) -> int:
    """Names as selected, as Python text of its own, and encoded."""
    return 0 if names is None else size * (2 * names.itemsize + 64)


def libraries_nbytes() -> int:
    """Bytes that loading libraries and compiling kernels will add to this process."""
    missing = (nbytes for name, nbytes in _IMPORTS.items() if name not in sys.modules)
    return sum(missing) + _COMPILED_KERNELS


def fixed_quantities(facts: ParameterFacts, baseline: int, libraries: int, threads: int) -> tuple[Quantity, ...]:
    """List what does not depend on how the work is cut."""
    sides = 8 * (10 * facts.ncells + 4 * facts.nfeatures) + facts.names_nbytes
    nedges = MOST_BINS + min(2 * facts.ngroups, MOST_BINS)
    scratch = nedges * _TABLE_NBYTES + 8 * BLOCK * (facts.ngroups + 7) + _WAITING_NBYTES
    output = math.prod(facts.shape) * np.dtype(facts.dtype).itemsize
    windows = min(output, WINDOWS_IN_FLIGHT * DIRTY_WINDOW_NBYTES)
    return (
        Quantity("process now", baseline, "anonymous and shared memory in use before the run"),
        Quantity("libraries", libraries, "Numba, h5py and compiled kernels, as far as they are not loaded yet"),
        Quantity("cells", sides, "size factors, groups, indices, names, and the kernel's order of them"),
        Quantity("threads", threads * scratch, f"tables of {threads} threads at {format_bytes(scratch)}"),
        Quantity("dirty pages", windows, f"two windows of {format_bytes(DIRTY_WINDOW_NBYTES)} not yet on the disk"),
    )


def working_quantities(
    facts: ParameterFacts, threads: int, minibatch: int, slab: tuple[int, int], nslabs: int
) -> tuple[Quantity, ...]:
    """List what the plan chooses; `slab` holds samples and cells."""
    slab_nbytes = math.prod(slab) * facts.nfeatures * np.dtype(facts.dtype).itemsize
    units = slab[0] * -(-facts.nfeatures // BLOCK) + UNITS_A_THREAD * threads
    read = minibatch * facts.sample_nbytes
    return (
        Quantity("minibatch", read, f"parameters of {minibatch} samples while they are read"),
        Quantity("slabs", SLABS_IN_FLIGHT * slab_nbytes, f"{SLABS_IN_FLIGHT} slabs: one computed, one written"),
        Quantity("undecided", units * _RECORDS_NBYTES, f"addresses of rare counts, {units:,} units of work"),
        Quantity("checksums", CHECK_NBYTES * nslabs, f"{nslabs:,} slabs in the manifest's table"),
    )


def allocator_quantity(nbytes: int) -> Quantity:
    """Return what the allocator keeps beside `nbytes` in use."""
    return Quantity("allocator", int(nbytes * _ALLOCATOR_SLACK), f"{_ALLOCATOR_SLACK:.0%} kept by malloc")


def usable(nbytes: int) -> int:
    """Bytes that may be in use where `nbytes` may be held: the inverse of `allocator_quantity`."""
    return int(nbytes / (1 + _ALLOCATOR_SLACK))
