"""How counts are cut into chunks that are encoded one by one: shapes, codecs and shards, as the manifest keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamsample.errors import PlanError
from streamsample.geometry import Shape
from streamsample.units import KIB, MIB

Purpose = Literal["sample", "cell", "feature"]

CODECS: dict[str, tuple[str, ...]] = {".npy": (), ".h5": ("gzip", "zstd", "lz4"), ".zarr": ("zstd", "lz4")}
"""Compressions of each suffix of `target.STORES`, the best supported one first."""
ALWAYS = (".zarr",)
"""Suffixes whose counts are never stored as they are."""

CHUNK_NBYTES = 128 * KIB
"""Of a chunk, decoded: it stays in the L2 cache. Encoding 256 KiB at once is a fifth slower and 1 % smaller."""
SMALL_CHUNK_NBYTES = 32 * KIB
"""Where fewer cells are at hand, a chunk takes more features up to this: below it, the work around chunks shows."""
ROW_NBYTES: dict[str, int] = {"sample": 64, "feature": 32, "cell": 2048}
"""Of a cell's counts in a chunk, by what is read most; the more cells, and the fewer features, the smaller the file."""
STRIDE_NBYTES = 128
"""Longest row whose bits are shuffled as one element (Blosc takes at most 255)."""
OCTET = 8
"""Bit planes are whole bytes where the cells of a chunk are a multiple of this."""

SHARD_NBYTES = 10**9
"""Most of a shard: few files, each of which other tools can still copy or read whole."""
ENCODED_NBYTES = 0.25
"""Assumed of an encoded count to cut shards, where nothing more is expected; single cells take 0.18
(docs/formats.md), means of hundreds 1.5."""


@dataclass(frozen=True)
class Chunking:
    """Chunks of a file, and what encodes them; part of the identity of a run."""

    chunks: Shape
    """Samples (always 1), cells and features of a chunk; at the axes' ends they are padded with zeros."""
    codec: str
    """Key of `stores.codecs.CODECS`."""
    shards: Shape | None = None
    """Samples, cells and features of a file of its own; None: all chunks are in one file."""

    @property
    def unit(self) -> tuple[int, int]:
        """Samples and cells that a slab is a multiple of."""
        return self.chunks[0], self.chunks[1]

    def grid(self, shape: Shape) -> Shape:
        """Number of chunks along each axis of counts of this shape."""
        ns, nn, nt = (-(-size // length) for size, length in zip(shape, self.chunks, strict=True))
        return ns, nn, nt

    def nchunks(self, shape: Shape) -> int:
        """Number of chunks."""
        return math.prod(self.grid(shape))

    def nfiles(self, shape: Shape) -> int:
        """Number of files that hold chunks."""
        if self.shards is None:
            return 1
        return math.prod(-(-size // length) for size, length in zip(shape, self.shards, strict=True))

    def to_layout(self) -> dict[str, Any]:
        """Return the manifest's items."""
        shards = {} if self.shards is None else {"shards": list(self.shards)}
        return {"chunks": list(self.chunks), "codec": self.codec, **shards}

    @classmethod
    def of_layout(cls, layout: Mapping[str, Any]) -> Chunking | None:
        """Read the manifest's items; None where the counts are stored as they are."""
        if layout["codec"] is None:
            return None
        s, n, t = (int(size) for size in layout["chunks"])
        shards = layout.get("shards")
        return cls((s, n, t), str(layout["codec"]), None if shards is None else (shards[0], shards[1], shards[2]))


@dataclass(frozen=True)
class Storage:
    """How an output was asked to be stored."""

    compression: str = "auto"
    """``none``, one of `CODECS`, or ``auto``: chunks of `kept`, else the format's own habit."""
    purpose: Purpose | None = None
    """What is read most; see `choose_chunks`. None: chunks of `kept`, else those for ``sample``."""
    kept: Chunking | None = None
    """Chunks of an output that is continued; where they are not what was asked for, the run is another one."""

    def chunking(
        self,
        suffix: str,
        shape: Shape,
        itemsize: int,
        most_cells: int,
        most_shard_nbytes: int,
        count_nbytes: float = ENCODED_NBYTES,
    ) -> Chunking | None:
        """Choose the chunks for an output; None where its counts are stored as they are.

        Parameters
        ----------
        suffix
            Of the output.
        shape
            (S, N, T) of the counts.
        itemsize
            Bytes of a count.
        most_cells
            Cells of a slab that there is memory for.
        most_shard_nbytes
            Of a shard, for formats that have some.
        count_nbytes
            Expected of an encoded count.
        """
        if self.purpose is not None and self.purpose not in ROW_NBYTES:
            raise PlanError(f"chunks can't be optimized for {self.purpose!r}; choose {', '.join(ROW_NBYTES)}")
        if self.kept is not None and self._suits(self.kept, shape, itemsize):
            return self.kept
        codec = check_compression(suffix, self.compression)
        if codec is None:
            return None
        chunks = choose_chunks(shape, itemsize, self.purpose or "sample", most_cells)
        if suffix not in ALWAYS:
            return Chunking(chunks, codec)
        return Chunking(chunks, codec, choose_shards(shape, chunks, most_shard_nbytes, count_nbytes))

    def _suits(self, kept: Chunking, shape: Shape, itemsize: int) -> bool:
        """Whether chunks are what was asked for; they may have been chosen with more or less memory."""
        if self.compression not in ("auto", kept.codec):
            return False
        cells = kept.chunks[1]
        return self.purpose is None or kept.chunks == choose_chunks(shape, itemsize, self.purpose, cells)


def check_compression(suffix: str, compression: str) -> str | None:
    """Return the codec asked for, None for none; ``auto`` is the format's own habit.

    Raises
    ------
    PlanError
        If files of this suffix can't have it.
    """
    known = CODECS[suffix]
    if compression == "auto":
        return known[0] if suffix in ALWAYS else None
    if compression == "none" and suffix not in ALWAYS:
        return None
    if compression not in known:
        choices = " or ".join(known if suffix in ALWAYS else ("none", *known))
        raise PlanError(f"{suffix} files can't have the compression {compression!r}; choose {choices}")
    return compression


def check_chunking(suffix: str, chunking: Chunking | None) -> None:
    """Raise `PlanError` where a plan's chunks are not for outputs of this suffix."""
    if chunking is None:
        suits = suffix not in ALWAYS
    else:
        suits = chunking.codec in CODECS[suffix] and (chunking.shards is not None) == (suffix in ALWAYS)
    if not suits:
        raise PlanError(f"the plan is not for {suffix} files; make one with streamsample.plan(stream, path)")


def choose_chunks(shape: Shape, itemsize: int, purpose: Purpose = "sample", most_cells: int | None = None) -> Shape:
    """Choose the shape of chunks for what is read most.

    Parameters
    ----------
    shape
        (S, N, T) of the counts.
    itemsize
        Bytes of a count.
    purpose
        ``sample``: all of a sample (the default; fair to the others, too), ``cell``: one cell over all samples,
        ``feature``: one feature over all samples.
    most_cells
        Cells that there is memory for.
    """
    nsamples, ncells, nfeatures = shape
    limit = ncells if most_cells is None else min(ncells, most_cells)
    features = min(nfeatures, max(1, ROW_NBYTES[purpose] // itemsize))
    cells = min(limit, CHUNK_NBYTES // (features * itemsize))
    cells = _even(ncells, cells)
    features = min(nfeatures, max(features, SMALL_CHUNK_NBYTES // (cells * itemsize)))
    if (nsamples, cells, features) == (1, ncells, nfeatures):  # HDF5 has no array of addresses for one chunk
        features = -(-nfeatures // 2)
    return 1, cells, features


def choose_shards(shape: Shape, chunks: Shape, most_nbytes: int, count_nbytes: float = ENCODED_NBYTES) -> Shape:
    """Choose shards of all features: some samples, or some of a sample's cells where one has too many.

    Parameters
    ----------
    shape
        (S, N, T) of the counts.
    chunks
        Of a chunk.
    most_nbytes
        Of a shard; `SHARD_NBYTES` where that is less.
    count_nbytes
        Expected of an encoded count; `ENCODED_NBYTES` where that is more.
    """
    limit = max(MIB, min(most_nbytes, SHARD_NBYTES)) / max(count_nbytes, ENCODED_NBYTES)  # in counts
    nsamples, ncells, nfeatures = (-(-size // length) * length for size, length in zip(shape, chunks, strict=True))
    if ncells * nfeatures <= limit:
        return min(nsamples, int(limit // (ncells * nfeatures))), ncells, nfeatures
    cells = max(1, int(limit // (nfeatures * chunks[1]))) * chunks[1]
    return 1, cells, nfeatures


def _even(size: int, most: int) -> int:
    """Length of pieces that are about alike, at most `most`; whole octets where there is more than one piece."""
    if most >= size:
        return size
    most = max(1, most // OCTET * OCTET or most)
    length = -(-size // -(-size // most))
    return min(most, -(-length // OCTET) * OCTET)
