"""Check a file of counts: its checksums, and some of it computed again."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from streamsample import twin
from streamsample.errors import CorruptSlab, PlanError, PosteriorError, StoreError
from streamsample.geometry import IndexArray, Slab, index_words, slabs
from streamsample.parameters import STREAM_VERSIONS
from streamsample.posterior import Posterior
from streamsample.run import Progress
from streamsample.stores import describe_unfinished
from streamsample.stores.base import CountArray, Stored, store_for
from streamsample.stores.checksums import HASHERS
from streamsample.stores.manifest import Manifest, SlabCheck
from streamsample.stream import CountStream
from streamsample.units import MIB

_PIECE_NBYTES = 64 * MIB
"""Read and computed at a time, whatever the slabs of the file were."""

_POINTS = 64, 4096
"""Counts of each piece that the twin computes, too: so many at least, and where all slabs are computed again. It takes
10 us for each, so that is 0.6 to 40 ms, where the kernel takes some 150 for a piece."""

Referee = Callable[[CountStream, IndexArray, IndexArray, IndexArray], CountArray]
"""Computes counts at addresses, independently of the kernels; see `twin.counts`."""


@dataclass(frozen=True)
class Report:
    """What was checked, and found right."""

    path: str
    """The file."""
    slabs_checked: int
    """Slabs whose bytes have their checksum: all of them."""
    slabs_regenerated: int
    """Slabs that were computed again."""
    counts_compared: int
    """Counts that were computed again, each equal to the one stored."""
    counts_total: int
    """Counts in the file."""
    seconds: float
    """How long it took."""
    counts_by_twin: int = 0
    """Of the counts compared, those that the twin has computed, too."""
    twin_built: bool = False
    """Whether there is a twin on this machine."""
    seed: int = 0
    """What the choice of slabs, and of counts for the twin, follows from; gives the same ones again."""


def verify(
    path: str | os.PathLike[str],
    posterior: Posterior,
    *,
    fraction: float = 0.01,
    full: bool = False,
    seed: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Check every byte of a file against its checksums, and compute a random part of it again.

    Parameters
    ----------
    path
        A file written by `sample`.
    posterior
        The posterior it was made from, applied to the same cells.
    fraction
        Share of the slabs to compute again, at least one slab.
    full
        Compute all of it again.
    seed
        Which slabs these are, and which of their counts the twin computes, too; others each time if not given.
    progress
        Called with a `Progress` after each slab.

    Raises
    ------
    CorruptSlab
        If a stored count is not the one that belongs there (names file, slab and element), or a header, a name or
        the manifest is damaged.
    PosteriorError
        If the file was made from another posterior.
    StoreError
        If the file is missing, incomplete, or not one of ours.
    """
    target = Path(path)
    unfinished = None if target.exists() else describe_unfinished(target)
    if unfinished is not None:
        raise StoreError(f"{target} is not complete ({unfinished.written:.1%} written); resume it before it is checked")
    stored = store_for(target).open(target)
    stored.check_frame()
    manifest = stored.manifest
    _check_identity(manifest, posterior, target)
    stream = CountStream(posterior, seed=manifest.seed, selection=manifest.selection)
    referee = twin.counts if twin.built() else None
    share = 1.0 if full else fraction
    return check(stored, stream, target, fraction=share, seed=seed, progress=progress, referee=referee)


def check(
    stored: Stored,
    stream: CountStream,
    path: Path,
    *,
    fraction: float = 1.0,
    seed: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    referee: Referee | None = None,
) -> Report:
    """Check an opened output against the stream it should hold; see `verify`."""
    if not 0 <= fraction <= 1:
        raise PlanError(f"a fraction of {fraction:g} can't be checked; give one from 0 to 1")
    start = time.monotonic()
    manifest = stored.manifest
    _check_table(manifest, path)
    drawn = secrets.randbits(64) if seed is None else seed
    chance = np.random.default_rng(drawn)
    chosen = _choose(len(manifest.checks), fraction, chance)
    checker = _Checker(stored, stream, path, referee, chance, max(_POINTS[0], round(fraction * _POINTS[1])))
    total = int(np.prod(manifest.shape))
    done = 0
    for i, line in enumerate(manifest.checks):
        checker.check(line, regenerate=i in chosen)
        done += _ncounts(line.slab, manifest)
        if progress is not None:
            nbytes = done * np.dtype(manifest.dtype).itemsize
            progress(Progress(done, total, nbytes, time.monotonic() - start))
    seconds = time.monotonic() - start
    return Report(
        str(path),
        len(manifest.checks),
        len(chosen),
        checker.compared,
        total,
        seconds,
        counts_by_twin=checker.by_twin,
        twin_built=referee is not None,
        seed=drawn,
    )


class _Checker:
    """Checks slab after slab, a piece at a time; the referee computes so many `points` of each."""

    def __init__(
        self,
        stored: Stored,
        stream: CountStream,
        path: Path,
        referee: Referee | None,
        chance: np.random.Generator,
        points: int,
    ) -> None:
        self.compared = 0
        self.by_twin = 0
        self._referee = referee
        self._chance = chance
        self._points = points
        self._stored = stored
        self._stream = stream
        self._path = path

    def check(self, line: SlabCheck, *, regenerate: bool) -> None:
        """Raise `CorruptSlab` unless the slab is as it should be."""
        digest = HASHERS[self._stored.manifest.checksum]()
        for piece in self._pieces(line.slab):
            found = self._read(piece)
            digest.update(found.data.cast("B"))
            if regenerate:
                self._compare(line.slab, piece, found, "differs from what its posterior and seed give")
        if digest.intdigest() != line.checksum:
            for piece in self._pieces(line.slab):
                self._compare(line.slab, piece, self._read(piece), "does not have its checksum")
            raise self._corrupt(line.slab, "holds the right counts, but its line in the table of checksums is damaged")

    def _compare(self, slab: Slab, piece: Slab, found: CountArray, problem: str) -> None:
        """Compute a piece again and compare."""
        expected = self._compute(piece, found)
        if np.array_equal(found, expected):
            self.compared += found.size
            return
        ds, dn, t = (int(i) for i in np.argwhere(found != expected)[0])
        where = "(s={}, n={}, t={})".format(*self._addresses(piece, ds, dn, t))
        raise self._corrupt(
            slab, f"{problem}: {found[ds, dn, t]} is stored at {where} where {expected[ds, dn, t]} belongs"
        )

    def _compute(self, piece: Slab, found: CountArray) -> CountArray:
        """Compute a piece: by the twin alone as long as that is not worth starting Numba, else by the kernel."""
        if self._referee is not None and twin.is_quicker(self.by_twin + found.size):
            self.by_twin += found.size
            return self._referee(self._stream, *self._addresses(piece, *np.ix_(*map(range, found.shape))))
        expected = np.empty_like(found)
        self._stream.load(piece.s0, piece.s1).fill(piece.s0, piece.s1, piece.n0, piece.n1, expected)
        if self._referee is not None:
            self._cross_examine(piece, expected, self._referee)
        return expected

    def _cross_examine(self, piece: Slab, computed: CountArray, referee: Referee) -> None:
        """Let the twin compute some of what the kernel has computed."""
        points = min(self._points, computed.size)
        s, n, t = (self._chance.integers(0, size, points) for size in computed.shape)
        s[:] = s[0]  # one sample's draws are read, not those of all
        address = self._addresses(piece, s, n, t)
        ours, other = computed[s, n, t], referee(self._stream, *address)
        self.by_twin += points
        differ = np.flatnonzero(ours != other)
        if differ.size:
            i = differ[0]
            where = "(s={}, n={}, t={})".format(*(int(index[i]) for index in address))
            raise CorruptSlab(
                f"{self._path}: at {where} the kernel computes {ours[i]} but its twin {other[i]}; one of them "
                "is broken on this machine: verify the file on another one, and please report this"
            )

    def _addresses(self, piece: Slab, s: Any, n: Any, t: Any) -> tuple[Any, Any, Any]:
        """Translate positions in a piece into indices into the posterior's axes."""
        chosen = self._stream.selection
        return chosen.samples[piece.s0 + s], chosen.cells[piece.n0 + n], chosen.features[t]

    def _read(self, piece: Slab) -> CountArray:
        """Read a piece of the file."""
        try:
            return self._stored.read(piece)
        except StoreError as error:
            raise self._corrupt(piece, f"can't be read ({error})") from error

    def _corrupt(self, slab: Slab, problem: str) -> CorruptSlab:
        """Name a slab by the posterior's own indices, as elements are named."""
        chosen = self._stream.selection
        samples, cells = index_words(chosen.samples[slab.s0 : slab.s1]), index_words(chosen.cells[slab.n0 : slab.n1])
        return CorruptSlab(
            f"{self._path}: the slab of samples {samples}, cells {cells} {problem}; write the file again"
        )

    def _pieces(self, slab: Slab) -> Iterator[Slab]:
        """Cut a slab into runs of bytes that fit into memory anywhere."""
        row = self._stream.shape[2] * np.dtype(self._stored.manifest.dtype).itemsize
        unit = (self._stored.manifest.layout["chunks"] or (1, 4))[1]  # whole chunks: none is decoded twice
        ncells = max(unit, _PIECE_NBYTES // row // unit * unit)
        nsamples = max(1, _PIECE_NBYTES // (row * slab.ncells)) if slab.ncells <= ncells else 1
        for piece in slabs(slab.s0, slab.s1, slab.ncells, nsamples, ncells):
            yield Slab(piece.s0, piece.s1, slab.n0 + piece.n0, slab.n0 + piece.n1)


def _check_identity(manifest: Manifest, posterior: Posterior, path: Path) -> None:
    """Refuse a file that can't have been made from this posterior by this version of the stream."""
    if not manifest.complete:
        raise StoreError(f"{path} is not complete; there is nothing to check yet")
    version, expected = manifest.stream_version, posterior.facts.stream_version
    if version not in STREAM_VERSIONS:
        raise StoreError(
            f"{path} follows stream version {version}, this program computes {STREAM_VERSIONS[0]} to "
            f"{STREAM_VERSIONS[-1]}; use streamsample {manifest.streamsample_version}"
        )
    if version != expected:
        raise PosteriorError(
            f"{path} follows stream version {version} but this posterior's counts follow version {expected}: "
            "it was made from another posterior"
        )
    digest = posterior.digest()
    if manifest.posterior_digest != digest:
        raise PosteriorError(
            f"{path} was made from another posterior (digest {manifest.posterior_digest[:12]}), "
            f"or for other cells than this one has ({digest[:12]}); where --for-cells made it, give --for-cells again"
        )


def _check_table(manifest: Manifest, path: Path) -> None:
    """Check that the slabs hold every count once, in file order."""
    _, ncells, _ = manifest.shape
    ends = 0  # in cells, from the file's beginning
    for line in manifest.checks:
        slab = line.slab
        one_run = slab.nsamples == 1 or slab.ncells == ncells
        if slab.s0 * ncells + slab.n0 != ends or min(slab.nsamples, slab.ncells) < 1 or not one_run:
            break
        ends += slab.nsamples * slab.ncells
    if ends != manifest.shape[0] * ncells:
        raise CorruptSlab(f"{path}: its table of checksums does not cover all counts; write the file again")


def _choose(nslabs: int, fraction: float, chance: np.random.Generator) -> frozenset[int]:
    """Choose slabs at random; other ones each time, so that who verifies again sees more of a file."""
    return frozenset(chance.choice(nslabs, size=ceil(fraction * nslabs), replace=False).tolist())


def _ncounts(slab: Slab, manifest: Manifest) -> int:
    return slab.nsamples * slab.ncells * manifest.shape[2]
