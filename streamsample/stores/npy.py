"""``.npy``: a plain NumPy file, with its manifest and names in a ``.json`` file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from streamsample.errors import StoreError
from streamsample.stores.base import Labels
from streamsample.stores.manifest import Manifest
from streamsample.stores.raw import ALIGNMENT, Extent, RawLanding, RawStored

_MAGIC = b"\x93NUMPY\x01\x00"


class NpyStore:
    """Writes and reads ``NAME.npy`` and ``NAME.npy.json``."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """The counts, and the manifest beside them."""
        return path, path.with_name(path.name + ".json")

    def create(self, path: Path, manifest: Manifest, labels: Labels) -> RawLanding:
        """Write header and manifest."""
        path.write_bytes(_header(manifest))
        names = {"cell_names": labels.cells, "feature_names": labels.features}
        self._write_json(
            path, manifest, {key: None if value is None else value.tolist() for key, value in names.items()}
        )
        return RawLanding(path, Extent(ALIGNMENT, manifest))

    def finish(self, path: Path, manifest: Manifest) -> None:
        """Write the manifest again, now complete."""
        items = self._read_json(path)
        self._write_json(path, manifest, {key: items[key] for key in ("cell_names", "feature_names")})

    def open(self, path: Path) -> RawStored:
        """Read header and manifest."""
        manifest = Manifest.from_json(self._read_json(path), str(path))
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, dtype = read[version](file)
                offset = file.tell()
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path} is not a readable .npy file ({error})") from error
        if (shape, fortran, dtype) != (manifest.shape, False, np.dtype(manifest.dtype)):
            raise StoreError(f"{path} holds {dtype} {shape}, its manifest says {manifest.dtype} {manifest.shape}")
        return RawStored(path, Extent(offset, manifest))

    def _write_json(self, path: Path, manifest: Manifest, names: dict[str, Any]) -> None:
        self.files(path)[1].write_text(json.dumps({**manifest.to_json(), **names}) + "\n", encoding="utf-8")

    def _read_json(self, path: Path) -> dict[str, Any]:
        beside = self.files(path)[1]
        if not path.is_file():
            raise StoreError(f"{path}: there is no such file")
        if not beside.is_file():
            raise StoreError(f"{path} has no manifest {beside.name} beside it; without it nothing is known of the run")
        try:
            items = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{beside} is not readable as JSON ({error})") from error
        if not isinstance(items, dict):
            raise StoreError(f"{beside} is not a manifest")
        return items


def _header(manifest: Manifest) -> bytes:
    """Header of version 1, padded so that the counts start aligned; NumPy's own pads to 64 bytes."""
    described = {"descr": np.dtype(manifest.dtype).str, "fortran_order": False, "shape": manifest.shape}
    room = ALIGNMENT - len(_MAGIC) - 2
    return _MAGIC + room.to_bytes(2, "little") + repr(described).encode().ljust(room - 1) + b"\n"
