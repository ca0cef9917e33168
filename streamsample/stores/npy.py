"""``.npy``: a plain NumPy file, with its manifest and names in a ``.json`` file beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamsample.errors import CorruptSlab, StoreError
from streamsample.stores.base import Labels
from streamsample.stores.disk import create_file, refusal
from streamsample.stores.journal import Line
from streamsample.stores.manifest import Manifest
from streamsample.stores.raw import ALIGNMENT, Extent, RawLanding, RawStored, around_counts, put_frame
from streamsample.stores.seal import PLACE, is_sealed, seal_of

_MAGIC = b"\x93NUMPY\x01\x00"


class NpyStore:
    """Writes and reads ``NAME.npy`` and ``NAME.npy.json``."""

    is_folder = False

    def files(self, path: Path) -> tuple[Path, ...]:
        """The counts, and the manifest beside them."""
        return path, _beside(path)

    def begin(
        self,
        path: Path,
        manifest: Manifest,
        labels: Labels,
        lines: Sequence[Line],
        threads: int = 1,  # noqa: ARG002 -- nothing is encoded
    ) -> RawLanding:
        """Write header and manifest."""
        extent = Extent(ALIGNMENT, manifest)
        put_frame(path, [(0, _header(manifest))], extent.end, fresh=not lines)
        self.finish(path, manifest, labels, lines)
        return RawLanding(path, extent)

    def finish(self, path: Path, manifest: Manifest, labels: Labels, _lines: Sequence[Line], /) -> None:
        """Write the manifest as it is now."""
        names = {"cell_names": labels.cells, "feature_names": labels.features}
        items = {key: None if value is None else value.tolist() for key, value in names.items()}
        data = json.dumps({**manifest.to_json(), **items, "seal": PLACE.decode()}).encode() + b"\n"
        beside = _beside(path)
        try:
            create_file(beside, data.replace(PLACE, seal_of(data)))
        except OSError as error:
            raise refusal(beside, error) from error

    def open(self, path: Path) -> NpyStored:
        """Read header and manifest."""
        manifest = Manifest.from_json(_read_json(path), str(path))
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, dtype = read[version](file)
                offset = file.tell()
        except Exception as error:  # NumPy parses the header as Python, and raises whatever that does
            raise StoreError(f"{path} is not a readable .npy file ({_one_line(error)})") from error
        if (shape, fortran, dtype) != (manifest.shape, False, np.dtype(manifest.dtype)):
            raise StoreError(f"{path} holds {dtype} {shape}, its manifest says {manifest.dtype} {manifest.shape}")
        return NpyStored(path, Extent(offset, manifest))


class NpyStored(RawStored):
    """Counts and the manifest beside them."""

    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless header and manifest are as they were written."""
        if around_counts(self.path, self.extent) != _header(self.manifest):
            raise CorruptSlab(f"the header of {self.path} (its first {ALIGNMENT} bytes) is damaged; write it again")
        seal = _read_json(self.path).get("seal")
        sealed = isinstance(seal, str) and is_sealed(_beside(self.path).read_bytes(), seal.encode())
        # Files of 0.1.0 had checksums of another kind, and no seal.
        if not sealed and not (seal is None and self.manifest.checksum == "xxh3_64"):
            raise CorruptSlab(f"the manifest {_beside(self.path)} is damaged: it does not have its seal")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _read_json(path: Path) -> dict[str, Any]:
    beside = _beside(path)
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file")
    if not beside.is_file():
        raise StoreError(f"{path} has no manifest {beside.name} beside it; without it nothing is known of the run")
    try:
        items = json.loads(beside.read_bytes())
    except ValueError as error:
        raise StoreError(f"{beside} is not readable as JSON ({_one_line(error)})") from error
    if not isinstance(items, dict):
        raise StoreError(f"{beside} is not a manifest")
    return items


def _header(manifest: Manifest) -> bytes:
    """Header of version 1, padded so that the counts start aligned; NumPy's own pads to 64 bytes."""
    described = {"descr": np.dtype(manifest.dtype).str, "fortran_order": False, "shape": manifest.shape}
    room = ALIGNMENT - len(_MAGIC) - 2
    return _MAGIC + room.to_bytes(2, "little") + repr(described).encode().ljust(room - 1) + b"\n"


def _one_line(error: Exception) -> str:
    """What an error says, without the page of advice that NumPy adds."""
    return " ".join(str(error).split())[:200]
