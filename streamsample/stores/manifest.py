"""The identity of a run, and the checksums of what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from streamsample import __version__
from streamsample.errors import StoreError
from streamsample.geometry import Selection, Shape, Slab
from streamsample.stream import STREAM_VERSION

FORMAT = "streamsample-counts-1"
CHECKSUM = "xxh3_64"


@dataclass(frozen=True, slots=True)
class SlabCheck:
    """One line of the table of checksums."""

    slab: Slab
    """Positions within the selection."""
    checksum: int
    """XXH3, 64 bits, of the slab's bytes in C order."""


@dataclass(frozen=True)
class Manifest:
    """What makes a run this run: two runs are the same only if all of it agrees."""

    seed: int
    """64-bit seed of the stream."""
    posterior_digest: str
    """SHA-256 of the posterior, as `Posterior.digest` defines it."""
    selection: Selection
    """Samples, cells and features, as indices into the posterior."""
    dtype: str
    """``uint8``, ``uint16`` or ``uint32``."""
    stream_version: int = STREAM_VERSION
    """Which definition of the stream the counts follow."""
    streamsample_version: str = __version__
    """Version of the program that wrote the file."""
    layout: Mapping[str, Any] = field(default_factory=lambda: {"chunks": None, "codec": None})
    """Chunk and codec settings; none: contiguous and as they are."""
    complete: bool = False
    """Whether every count has been written."""
    checks: tuple[SlabCheck, ...] = ()
    """The table of checksums, in file order; together the slabs hold every count once."""

    @property
    def shape(self) -> Shape:
        """(S, N, T) of the counts."""
        return self.selection.shape

    def completed(self, checks: tuple[SlabCheck, ...]) -> Manifest:
        """Return the manifest of the finished run."""
        return replace(self, complete=True, checks=checks)

    def scalars(self) -> dict[str, Any]:
        """Return what is a single value, under the names that the files use."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "stream_version": self.stream_version,
            "posterior_digest": self.posterior_digest,
            "streamsample_version": self.streamsample_version,
            "dtype": self.dtype,
            "checksum": CHECKSUM,
            "complete": self.complete,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            **self.scalars(),
            "shape": list(self.shape),
            **self.selection.to_json(),
            **self.layout,
            "slabs": [[c.slab.s0, c.slab.s1, c.slab.n0, c.slab.n1, f"{c.checksum:016x}"] for c in self.checks],
        }

    @classmethod
    def from_json(cls, items: Mapping[str, Any], source: str) -> Manifest:
        """Undo `to_json`.

        Parameters
        ----------
        items
            What `to_json` returned.
        source
            File it was read from, for errors.

        Raises
        ------
        StoreError
            If it is not a manifest that this version reads.
        """
        if items.get("format") != FORMAT:
            raise StoreError(f"{source} is not ours: its format is {items.get('format')!r}, not {FORMAT!r}")
        try:
            return cls(
                seed=int(items["seed"]),
                posterior_digest=str(items["posterior_digest"]),
                selection=Selection.from_json(dict(items)),
                dtype=str(items["dtype"]),
                stream_version=int(items["stream_version"]),
                streamsample_version=str(items["streamsample_version"]),
                layout={"chunks": items["chunks"], "codec": items["codec"]},
                complete=bool(items["complete"]),
                checks=tuple(SlabCheck(Slab(*extent), int(digits, 16)) for *extent, digits in items["slabs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the manifest in {source} is damaged ({type(error).__name__}: {error})") from error
