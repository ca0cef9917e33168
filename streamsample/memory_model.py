"""What a run holds in memory: every quantity named, in bytes, in one place."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from streamsample.bins import MOST_BINS
from streamsample.chunking import Chunking
from streamsample.compiled import on_disk
from streamsample.errors import PlanError
from streamsample.expectation import ASSUMED, CountFacts
from streamsample.geometry import Selection, Shape
from streamsample.minibatch import PENDING
from streamsample.parameters import Names
from streamsample.posterior import Posterior
from streamsample.slab_work import UNITS_A_THREAD, WORTH_COMPILING
from streamsample.units import MIB, format_bytes

SLABS_IN_FLIGHT = 2
"""One slab is computed while the one before it is written."""

PIECE_NBYTES = 8 * MIB
"""Written with one call (2 GB/s; 16 MiB and 32 MiB are not faster)."""
DIRTY_WINDOW_NBYTES = 2 * PIECE_NBYTES
"""Written bytes that go to the disk together: pushed as soon as they are a piece or more, so less than two."""
WINDOWS = {"direct": 1, "page cache": 2, "network": 3, "memory": 0}
"""Windows that a medium (`filesystems.Medium`) may have dirty: one is filled while the one before it is synced, and a
server may still have to commit one. Direct I/O leaves odd ends, headers and names. (ext4, MiB of 1 GB at a time: 5 by
direct I/O, 23 through the page cache.) In a file system in memory the whole output is held instead."""

CHUNKS_A_PIECE = 16
"""Chunks that a thread encodes at once: handing over costs 30 us, encoding them 3 ms."""
INDEX_NBYTES = 16
"""A chunk's length: four bytes while a run goes on, a line of Base64 beside it when one is resumed."""
PIECES_A_THREAD = 2
"""One piece is encoded while the one before it waits to be written."""

BLOCK = 512
"""Features that a thread has in work (`kernels.slab`, which is not imported for as long as nothing is computed)."""
_TABLE_NBYTES = 2 * 4 * 4 * BLOCK  # of one edge of a bin: two bounds of four levels, uint32
_WAITING_NBYTES = 7 * 8 * 3080 + 8 * 8 * 1032  # doubtful counts that a thread collects, and sums for them in its lanes
_ROUTES_NBYTES = 1600 * 1024  # a table of F and guides into it (`kernels.column_tables`)
_RECORDS_NBYTES = PENDING * (3 * 8 + 2)  # a unit's room for undecided counts, and the mask that picks those used

_ENCODED_AT_MOST = 1.25  # share of the size that compressed counts are expected to have, as it is an estimate
CHECK_NBYTES = 400
"""A line of the table of checksums as Python objects (325 measured), and a share of the lists that hold them."""

# Anonymous memory that a process gains, measured with Numba 0.68, h5py 3.16 and SciPy 1.17 on Linux, x86-64.
_IMPORTS = {"numba": 24 * MIB, "scipy": 16 * MIB, "h5py": 6 * MIB, "mpmath": 4 * MIB}
_COMPILED_KERNELS = 28 * MIB  # read from disk, with Numba's threads
# What the compiler keeps of its work on each route, where it is not found on disk.
_COMPILING = {"fill_by_rows": 120 * MIB, "fill_by_columns": 48 * MIB, "fill_by_gamma": 40 * MIB}
_ROWS_MEAN = 4.0  # of single cells of mean 0.76, 4 % are on the other routes; of mean 0.11, 0.1 %
ALL_LIBRARIES_NBYTES = sum(_IMPORTS.values()) + _COMPILED_KERNELS + sum(_COMPILING.values())
_ALLOCATOR_SLACK = 0.05  # heap that is free but not returned, as a share of everything else
_PAGE_ENTRIES = 512  # bytes of memory that a byte of a page table maps: 4096 / 8
_PAGES_OF_FILES = MIB  # page tables of mapped libraries, and of what lies scattered (0.5 measured)
_OVERHEAD = ("allocator", "page tables")
NOT_MAPPED = ("dirty pages", "output")
"""Quantities of pages that the kernel holds for files: nothing that malloc knows of, or that a process maps."""


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
    counts: CountFacts = ASSUMED
    """What the counts are like, on which no size in memory depends."""
    stored_samples: int | None = None
    """S of the posterior; None: as selected."""
    names_nbytes: int = 0
    """Names of the selected cells and features, in all the forms that they pass through on the way to a file."""
    whole: bool = False
    """Whether all stored features are selected, in order: then what is read needs no copying."""
    beyond: int = 0
    """Blocks [S, T] of parameters beside mu, phi and alpha: K of beta, one of zero inflation."""
    design_nbytes: int = 0
    """Size of the cells' covariates."""

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
            stored_samples=facts.nsamples,
            names_nbytes=names,
            whole=np.array_equal(selection.features, np.arange(facts.nfeatures)),
            beyond=facts.nblocks - 2 - facts.ngroups,
            design_nbytes=0 if posterior.cells.design is None else posterior.cells.design.nbytes,
        )

    @property
    def shape(self) -> Shape:
        """(S, N, T) of the selection."""
        return self.nsamples, self.ncells, self.nfeatures

    @property
    def posterior_nbytes(self) -> int:
        """Size of the parameters: as stored, else as a fit saves them, in float32."""
        sample = self.stored_nbytes or 4 * self.nblocks * self.nfeatures
        return sample * (self.stored_samples or self.nsamples)

    @property
    def nblocks(self) -> int:
        """Blocks [S, T] of parameters: mu, phi, those of alpha, and what there is beyond."""
        return 2 + self.ngroups + self.beyond

    @property
    def sample_nbytes(self) -> int:
        """Most that one sample of a minibatch takes while it is read.

        float64 parameters of all stored features, the stored form beside them, three arrays (s, t) to
        check them, and the selected features' own copy where they are a part.
        """
        stored = self.stored_features or self.nfeatures
        block = 8 * self.nblocks
        as_stored = block * stored if self.stored_nbytes is None else self.stored_nbytes
        return block * stored + as_stored + 3 * 8 * stored + (0 if self.whole else block * self.nfeatures)


def _names_nbytes(names: Names | None, size: int) -> int:
    """Names as selected, as Python text of its own, encoded, and twice within the image of an HDF5 file."""
    return 0 if names is None else size * (4 * names.itemsize + 64)


def libraries_nbytes(dtype: str, ncounts: int, mean: float) -> int:
    """Bytes that loading libraries, and compiling kernels for counts of a type, will add to this process.

    Routes that few counts take are not compiled (`slab_work`); how many do is guessed from their mean.
    """
    missing = (nbytes for name, nbytes in _IMPORTS.items() if name not in sys.modules)
    worth = min(1.0, (mean / _ROWS_MEAN) ** 2) * ncounts >= WORTH_COMPILING
    routes = _COMPILING if worth else {"fill_by_rows": _COMPILING["fill_by_rows"]}
    compiling = (nbytes for name, nbytes in routes.items() if not on_disk(dtype, name))
    return sum(missing) + _COMPILED_KERNELS + sum(compiling)


def fixed_quantities(
    facts: ParameterFacts, baseline: int, libraries: int, threads: int, medium: str = "page cache"
) -> tuple[Quantity, ...]:
    """List what does not depend on how the work is cut; `medium` is the target's, see `filesystems`."""
    sides = 8 * (10 * facts.ncells + 4 * facts.nfeatures)
    nedges = MOST_BINS + min(2 * facts.ngroups, MOST_BINS)
    blocks = 2 * 8 * BLOCK * (facts.nblocks + 4)  # of parameters, and the part of them that is on one route
    scratch = nedges * _TABLE_NBYTES + blocks + _WAITING_NBYTES + _ROUTES_NBYTES
    windows = min(_raw_nbytes(facts), WINDOWS[medium] * DIRTY_WINDOW_NBYTES)
    return (
        Quantity("process now", baseline, "anonymous and shared memory in use before the run"),
        Quantity("libraries", libraries, "Numba, h5py and compiled kernels, as far as they are not loaded yet"),
        Quantity("cells", sides, "size factors, groups, indices, and the kernel's order of them"),
        *design_quantity(facts.design_nbytes),
        Quantity("threads", threads * scratch, f"tables of {threads} threads at {format_bytes(scratch)}"),
        Quantity("dirty pages", windows, f"written by way of {medium} and not yet on the disk"),
    )


def working_quantities(
    facts: ParameterFacts,
    threads: int,
    minibatch: int,
    slab: tuple[int, int],
    nslabs: int,
    chunking: Chunking | None = None,
    medium: str = "page cache",
) -> tuple[Quantity, ...]:
    """List what the plan chooses, or what depends on it; `slab` holds samples and cells."""
    slab_nbytes = math.prod(slab) * facts.nfeatures * np.dtype(facts.dtype).itemsize
    units = slab[0] * -(-facts.nfeatures // BLOCK) + UNITS_A_THREAD * threads
    read = minibatch * facts.sample_nbytes
    return (
        *names_quantity(facts.names_nbytes, SLABS_IN_FLIGHT * slab_nbytes),
        minibatch_quantity(read, minibatch),
        slabs_quantity(slab_nbytes, min(SLABS_IN_FLIGHT, nslabs)),
        Quantity("undecided", units * _RECORDS_NBYTES, f"addresses of rare counts, {units:,} units of work"),
        checks_quantity(nslabs, facts.nsamples),
        *(() if chunking is None else chunk_quantities(chunking, facts.shape, facts.dtype, threads)),
        *(output_quantity(facts, chunking) if medium == "memory" else ()),
    )


def _raw_nbytes(facts: ParameterFacts) -> int:
    """Size of the counts as they are."""
    return math.prod(facts.shape) * np.dtype(facts.dtype).itemsize


def output_quantity(facts: ParameterFacts, chunking: Chunking | None) -> tuple[Quantity, ...]:
    """List the output itself, where its file system is memory; of compressed counts the size is a forecast."""
    raw = _raw_nbytes(facts)
    encoded = math.ceil(_ENCODED_AT_MOST * facts.counts.encoded_nbytes * math.prod(facts.shape))
    nbytes = raw if chunking is None else min(raw, encoded)
    return (Quantity("output", nbytes, "the counts themselves: their file system is memory, not a disk"),)


def chunk_quantities(chunking: Chunking, shape: Shape, dtype: str, threads: int) -> tuple[Quantity, ...]:
    """List what encoding takes: chunks on their way, if they are no smaller than before, and where all of them lie."""
    chunk = chunking.chunks[1] * chunking.chunks[2] * np.dtype(dtype).itemsize
    pieces = PIECES_A_THREAD * threads
    encoder = (pieces * CHUNKS_A_PIECE + 2 * threads) * chunk + 3 * PIECE_NBYTES
    nchunks = chunking.nchunks(shape)
    return (
        Quantity("encoder", encoder, f"{pieces * CHUNKS_A_PIECE:,} chunks at {format_bytes(chunk)}, and buffers"),
        Quantity("chunk index", INDEX_NBYTES * nchunks, f"lengths of {nchunks:,} chunks"),
    )


def design_quantity(nbytes: int) -> tuple[Quantity, ...]:
    """List what a design takes, where there is one.

    A slab's rows of it, and while they become sparse ones three more arrays of their size. Slabs keep theirs, two
    numbers a value, so that the next sample finds them: no more in all than is taken at first.
    """
    why = "covariates of the slabs' cells, as sparse rows and while they become that"
    return (Quantity("design", 4 * nbytes, why),) if nbytes else ()


def names_quantity(nbytes: int, slabs_nbytes: int) -> tuple[Quantity, ...]:
    """List what names take beyond the room of the slabs: they are written before there are any, and after."""
    if nbytes <= slabs_nbytes:
        return ()
    return (Quantity("names", nbytes - slabs_nbytes, f"{format_bytes(nbytes)} of text, when there are no slabs"),)


def minibatch_quantity(nbytes: int, minibatch: int) -> Quantity:
    """Return what the parameters of a minibatch take."""
    return Quantity("minibatch", nbytes, f"parameters of {minibatch} samples while they are read")


def slabs_quantity(slab_nbytes: int, in_flight: int) -> Quantity:
    """Return what the slabs take that are computed or written at a time."""
    why = f"{in_flight} slabs: one computed, one written" if in_flight > 1 else "1 slab, computed and then written"
    return Quantity("slabs", in_flight * slab_nbytes, why)


def checks_quantity(nslabs: int, nsamples: int) -> Quantity:
    """Return what the lines of the journal, and of the table of checksums, take."""
    why = f"{nslabs:,} slabs in the journal, {nsamples:,} samples in the manifest's table"
    return Quantity("checksums", CHECK_NBYTES * (nslabs + nsamples), why)


def allocator_quantity(nbytes: int) -> Quantity:
    """Return what the allocator keeps beside `nbytes` in use."""
    return Quantity("allocator", int(nbytes * _ALLOCATOR_SLACK), f"{_ALLOCATOR_SLACK:.0%} kept by malloc")


def page_tables_quantity(nbytes: int) -> Quantity:
    """Return what the kernel keeps to map `nbytes` of memory."""
    return Quantity("page tables", nbytes // _PAGE_ENTRIES + _PAGES_OF_FILES, "8 bytes for each 4 KiB in use")


def completed(quantities: Iterable[Quantity]) -> tuple[Quantity, ...]:
    """Add to all that is held what the allocator and the kernel keep beside it."""
    held = tuple(quantity for quantity in quantities if quantity.name not in _OVERHEAD)
    allocator = allocator_quantity(sum(quantity.nbytes for quantity in held if quantity.name not in NOT_MAPPED))
    mapped = sum(quantity.nbytes for quantity in (*held, allocator) if quantity.name not in NOT_MAPPED)
    return (*held, allocator, page_tables_quantity(mapped))
