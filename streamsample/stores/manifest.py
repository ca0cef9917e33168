"""The identity of a run, and the checksums of what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from streamsample import __version__
from streamsample.errors import StoreError
from streamsample.geometry import Selection, Shape, Slab
from streamsample.overflow import DTYPES
from streamsample.stores.checksums import CHECKSUM, HASHERS

FORMAT = "streamsample-counts-1"


@dataclass(frozen=True, slots=True)
class SlabCheck:
    """One line of the table of checksums."""

    slab: Slab
    """Positions within the selection."""
    checksum: int
    """Of the slab's counts in C order, of the kind that the manifest names."""


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
    stream_version: int = 1
    """Which definition of the stream the counts follow."""
    streamsample_version: str = __version__
    """Version of the program that wrote the file."""
    layout: Mapping[str, Any] = field(default_factory=lambda: {"chunks": None, "codec": None})
    """Chunk and codec settings; none: contiguous and as they are."""
    checksum: str = CHECKSUM
    """What kind the checksums are."""
    complete: bool = False
    """Whether every count has been written."""
    checks: tuple[SlabCheck, ...] = ()
    """The table of checksums, in file order; together the slabs hold every count once, a sample each in new files."""

    @property
    def shape(self) -> Shape:
        """(S, N, T) of the counts."""
        return self.selection.shape

    def completed(self, checks: tuple[SlabCheck, ...]) -> Manifest:
        """Return the manifest of the finished run."""
        return replace(self, complete=True, checks=checks)

    def difference(self, other: Manifest) -> str | None:
        """Name the first item in which another run differs, with both values; None if it is the same run."""
        ours, others = self.to_json(), other.to_json()
        for name in ours:
            if name not in ("complete", "slabs") and ours[name] != others.get(name):
                return f"{name} is {_short(others.get(name))} there and {_short(ours[name])} here"
        return None

    def scalars(self) -> dict[str, Any]:
        """Return what is a single value, under the names that the files use."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "stream_version": self.stream_version,
            "posterior_digest": self.posterior_digest,
            "streamsample_version": self.streamsample_version,
            "dtype": self.dtype,
            "checksum": self.checksum,
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
            made = cls(
                seed=int(items["seed"]),
                posterior_digest=str(items["posterior_digest"]),
                selection=Selection.from_json(dict(items)),
                dtype=str(items["dtype"]),
                stream_version=int(items["stream_version"]),
                streamsample_version=str(items["streamsample_version"]),
                layout=_layout(items),
                checksum=str(items["checksum"]),
                complete=bool(items["complete"]),
                checks=tuple(SlabCheck(Slab(*extent), int(digits, 16)) for *extent, digits in items["slabs"]),
            )
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise StoreError(f"the manifest in {source} is damaged ({type(error).__name__}: {error})") from error
        made._check(source)
        return made

    def _check(self, source: str) -> None:
        """Refuse values that no run has."""
        if self.dtype not in DTYPES or self.checksum not in HASHERS or not 0 <= self.seed < 2**64:
            raise StoreError(
                f"the manifest in {source} is damaged, or of a later version: "
                f"dtype {self.dtype!r}, checksum {self.checksum!r}, seed {self.seed}"
            )


def _layout(items: Mapping[str, Any]) -> dict[str, Any]:
    """Read chunk and codec settings, from JSON or from HDF5's attributes."""
    sizes = {name: items[name] for name in ("chunks", "shards") if name in items}
    layout = {name: None if value is None else [int(size) for size in value] for name, value in sizes.items()}
    return {"chunks": layout["chunks"], "codec": None if items["codec"] is None else str(items["codec"]), **layout}


def _short(value: Any) -> str:
    """Write a value in at most a few words."""
    text = str(value)
    return text if len(text) <= 70 else f"{text[:60]}... ({len(text)} characters)"
