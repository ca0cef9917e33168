"""What is in every ``.h5`` of counts beside the counts: manifest, table of checksums, and names along the axes."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from streamsample.geometry import Selection, Slab
from streamsample.parameters import Names
from streamsample.stores.base import Labels
from streamsample.stores.manifest import Manifest, SlabCheck

COUNTS, TABLE, SEAL = "counts", "manifest", "seal"
_INDICES = ("sample_index", "cell_index", "feature_index")


def write_attributes(file: h5py.File, manifest: Manifest) -> None:
    """Write the manifest's single values; an irregular index goes into a dataset, as attributes end at 64 KB.

    Text is of fixed length: that of any length lies in HDF5's global heaps, and where a byte of these is damaged,
    HDF5 may never return.
    """
    for name, value in manifest.scalars().items():
        file.attrs[name] = np.uint64(value) if name == "seed" else _fixed(value)
    for name, value in manifest.layout.items():
        file.attrs[name] = _fixed("none" if value is None else value)
    table = file.require_group(TABLE)
    for name, index in manifest.selection.to_json().items():
        if isinstance(index, str):
            file.attrs[name] = _fixed(index)
        elif name not in table:
            table[name] = np.array(index, dtype=np.int64)


def write_table(file: h5py.File, manifest: Manifest) -> None:
    """Write the table of checksums, a line a sample; zeros as long as the run is not finished."""
    nsamples, ncells, _ = manifest.shape
    checks = manifest.checks or tuple(SlabCheck(Slab(s, s + 1, 0, ncells), 0) for s in range(nsamples))
    extents = [[check.slab.s0, check.slab.s1, check.slab.n0, check.slab.n1] for check in checks]
    table = file.require_group(TABLE)
    table["slabs"] = np.array(extents, dtype=np.int64).reshape(-1, 4)
    table["checksums"] = np.array([check.checksum for check in checks], dtype=np.uint64)


def write_dimensions(file: h5py.File, selection: Selection, labels: Labels) -> None:
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


def read_manifest(file: h5py.File, source: str) -> Manifest:
    """Read what `write_attributes` and `write_table` wrote."""
    texts = {key: text_of(value) for key, value in file.attrs.items()}
    items: dict[str, Any] = {key: None if _is_none(value) else value for key, value in texts.items()}
    table = file[TABLE]
    for name in _INDICES:
        if name not in items:
            items[name] = table[name][:].tolist()
    manifest = Manifest.from_json({**items, "slabs": []}, source)
    if not manifest.complete:
        return manifest
    rows = zip(table["slabs"][:].tolist(), table["checksums"][:].tolist(), strict=True)
    return manifest.completed(tuple(SlabCheck(Slab(*extent), checksum) for extent, checksum in rows))


def _text(names: Names | None, index: Any) -> Any:
    """Names as h5py takes text, or the indices where there are none."""
    return index if names is None else names.astype(object)


def text_of(value: Any) -> Any:
    """Return an attribute's value, text of fixed length as str."""
    return value.decode() if isinstance(value, bytes) else value


def _fixed(value: Any) -> Any:
    """Return an attribute's value, text with its length."""
    return np.bytes_(value.encode()) if isinstance(value, str) else value


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value == "none"
