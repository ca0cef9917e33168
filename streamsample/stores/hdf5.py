"""``.h5``: one contiguous dataset with named dimensions; HDF5 never sees the counts go by.

h5py makes the file with room for all counts and closes it. They are then written at the dataset's offset by plain
writes, so there is no metadata in flight meanwhile, no global lock, and the dirty pages are ours to bound.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from streamsample.errors import StoreError
from streamsample.geometry import Selection, Slab
from streamsample.parameters import Names
from streamsample.stores.base import Labels
from streamsample.stores.manifest import FORMAT, Manifest, SlabCheck
from streamsample.stores.raw import ALIGNMENT, Extent, RawLanding, RawStored

COUNTS, TABLE = "counts", "manifest"
_INDICES = ("sample_index", "cell_index", "feature_index")


class Hdf5Store:
    """Writes and reads ``NAME.h5``."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All is in one file."""
        return (path,)

    def create(self, path: Path, manifest: Manifest, labels: Labels) -> RawLanding:
        """Write dimensions and manifest, and allocate the counts."""
        # Objects smaller than the threshold are not aligned, and the counts may be few.
        threshold = min(ALIGNMENT, Extent(0, manifest).nbytes)
        with h5py.File(path, "w", locking=False, alignment_threshold=threshold, alignment_interval=ALIGNMENT) as file:
            _write_attributes(file, manifest)
            offset = _allocate(file, manifest)
            _write_dimensions(file, manifest.selection, labels)
        return RawLanding(path, Extent(offset, manifest))

    def finish(self, path: Path, manifest: Manifest) -> None:
        """Add the table of checksums, and say that the run is complete."""
        extents = [[check.slab.s0, check.slab.s1, check.slab.n0, check.slab.n1] for check in manifest.checks]
        with h5py.File(path, "r+", locking=False) as file:
            table = file[TABLE]
            table["slabs"] = np.array(extents, dtype=np.int64).reshape(-1, 4)
            table["checksums"] = np.array([check.checksum for check in manifest.checks], dtype=np.uint64)
            _write_attributes(file, manifest)

    def open(self, path: Path) -> RawStored:
        """Read the manifest and find the counts."""
        if not path.is_file():
            raise StoreError(f"{path}: there is no such file")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise StoreError(f"{path} is not ours: its format is {file.attrs.get('format')!r}, not {FORMAT!r}")
                manifest = _read_manifest(file, str(path))
                counts = file[COUNTS]
                shape, dtype, offset = counts.shape, counts.dtype, counts.id.get_offset()
        except StoreError:
            raise
        except (OSError, KeyError) as error:
            if "truncated file" in str(error):
                raise StoreError(f"{path} is cut short: it ends before its counts do; write it again") from error
            raise StoreError(f"{path} is not a readable file of counts ({error})") from error
        if (shape, dtype) != (manifest.shape, np.dtype(manifest.dtype)) or offset is None:
            raise StoreError(f"{path} holds {dtype} {shape}, its manifest says {manifest.dtype} {manifest.shape}")
        return RawStored(path, Extent(offset, manifest))


def _allocate(file: h5py.File, manifest: Manifest) -> int:
    """Make the contiguous dataset, without filling it, and return the offset of its bytes."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(manifest.shape)
    kind = h5py.h5t.py_create(np.dtype(manifest.dtype))
    offset = h5py.h5d.create(file.id, COUNTS.encode(), kind, space, dcpl=layout).get_offset()
    return int(offset)


def _write_dimensions(file: h5py.File, selection: Selection, labels: Labels) -> None:
    """Add the scales ``sample``, ``cell`` and ``feature``: names, or indices into the posterior."""
    scales: dict[str, Any] = {
        "sample": selection.samples,
        "cell": _text(labels.cells, selection.cells),
        "feature": _text(labels.features, selection.features),
    }
    for axis, (name, values) in enumerate(scales.items()):
        kind = h5py.string_dtype() if values.dtype == object else values.dtype
        scale = file.create_dataset(name, data=values, dtype=kind)
        scale.make_scale(name)
        file[COUNTS].dims[axis].attach_scale(scale)


def _text(names: Names | None, index: Any) -> Any:
    """Names as h5py takes text, or the indices where there are none."""
    return index if names is None else names.astype(object)


def _write_attributes(file: h5py.File, manifest: Manifest) -> None:
    """Write the manifest's single values; an irregular index goes into a dataset, as attributes end at 64 KB."""
    for name, value in manifest.scalars().items():
        file.attrs[name] = np.uint64(value) if name == "seed" else value
    for name, value in manifest.layout.items():
        file.attrs[name] = "none" if value is None else value
    table = file.require_group(TABLE)
    for name, index in manifest.selection.to_json().items():
        if isinstance(index, str):
            file.attrs[name] = index
        elif name not in table:
            table[name] = np.array(index, dtype=np.int64)


def _read_manifest(file: h5py.File, source: str) -> Manifest:
    """Read what `_write_attributes` and `finish` wrote."""
    items: dict[str, Any] = {key: None if _is_none(value) else value for key, value in file.attrs.items()}
    table = file[TABLE]
    for name in _INDICES:
        if name not in items:
            items[name] = table[name][:].tolist()
    manifest = Manifest.from_json({**items, "slabs": []}, source)
    if "checksums" not in table:
        return manifest
    rows = zip(table["slabs"][:].tolist(), table["checksums"][:].tolist(), strict=True)
    return manifest.completed(tuple(SlabCheck(Slab(*extent), checksum) for extent, checksum in rows))


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value == "none"
