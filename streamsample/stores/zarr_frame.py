"""What is in every ``.zarr`` of counts beside the counts: metadata, the manifest, and names along the axes.

These are a few small files in the words of Zarr's format 3, written without its library so that each of them is synced
like everything else. The metadata of all arrays are repeated in the group's own (``consolidated_metadata``, as
zarr-python writes it), which xarray looks for first.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsample.chunking import Chunking
from streamsample.errors import StoreError
from streamsample.geometry import AXES, Shape
from streamsample.parameters import Names
from streamsample.stores.base import Labels
from streamsample.stores.codecs import codec_of
from streamsample.stores.manifest import Manifest
from streamsample.stores.seal import PLACE, seal_of

COUNTS, ROOT = "counts", "zarr.json"
_BYTES: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}

Files = dict[str, bytes]
"""Content by path within the output."""


def frame(manifest: Manifest, chunking: Chunking, labels: Labels) -> Files:
    """Return every file but those of the counts, sealed; the group's own is the last.

    Parameters
    ----------
    manifest
        Goes into the group's attributes.
    chunking
        Chunks and shards of the counts.
    labels
        Names; coordinates are indices into the posterior where there are none.
    """
    chosen = manifest.selection
    columns = zip(
        AXES, (chosen.samples, chosen.cells, chosen.features), (None, labels.cells, labels.features), strict=True
    )
    arrays = {COUNTS: _counts(manifest, chunking)}
    files: Files = {}
    for name, index, names in columns:
        arrays[name], files[f"{name}/c/0"] = _column(name, index, names)
    files |= {f"{name}/{ROOT}": _encode(items) for name, items in arrays.items()}
    inline = {"kind": "inline", "must_understand": False, "metadata": arrays}
    files[ROOT] = _encode(
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {**manifest.to_json(), "seal": PLACE.decode()},
            "consolidated_metadata": inline,
        }
    )
    files[ROOT] = files[ROOT].replace(PLACE, seal_of(b"".join(files.values())))
    return files


def frame_names() -> list[str]:
    """Return the paths of the files in a frame, in the order in which they are sealed."""
    return [*(f"{axis}/c/0" for axis in AXES), *(f"{name}/{ROOT}" for name in (COUNTS, *AXES)), ROOT]


def _counts(manifest: Manifest, chunking: Chunking) -> dict[str, Any]:
    """Metadata of the counts: shards, and in them chunks and an index at the end."""
    itemsize = np.dtype(manifest.dtype).itemsize
    codec = codec_of(chunking.codec, "the plan").zarr_codec(chunking.chunks[1:], itemsize)
    if codec is None or chunking.shards is None:
        raise StoreError(f"chunks encoded by {chunking.codec!r} can't be stored in .zarr; choose zstd or lz4")
    sharding = {
        "chunk_shape": list(chunking.chunks),
        "codecs": [_BYTES, codec],
        "index_codecs": [_BYTES, {"name": "crc32c"}],
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    # All shards are in one folder: a folder for each would double the number of files.
    return _array(manifest.shape, manifest.dtype, chunking.shards, codecs, AXES, 0, separator=".")


def _column(name: str, index: NDArray[Any], names: Names | None) -> tuple[dict[str, Any], bytes]:
    """Metadata and content of a coordinate."""
    shape = (index.size,)
    if names is None:
        return _array(shape, "int64", shape, [_BYTES], (name,), 0), index.astype("<i8").tobytes()
    codecs = [{"name": "vlen-utf8", "configuration": {}}]
    return _array(shape, "string", shape, codecs, (name,), ""), _vlen_utf8(names)


def _array(
    shape: tuple[int, ...],
    dtype: str,
    chunks: Shape | tuple[int, ...],
    codecs: list[dict[str, Any]],
    axes: tuple[str, ...],
    fill_value: int | str,
    separator: str = "/",
) -> dict[str, Any]:
    """Metadata of an array."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": fill_value,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": list(axes),
        "storage_transformers": [],
    }


def _vlen_utf8(names: Names) -> bytes:
    """Encode text: the number of items, and each with its length before it, as little-endian uint32."""
    items = [str(name).encode() for name in names]
    return len(items).to_bytes(4, "little") + b"".join(len(item).to_bytes(4, "little") + item for item in items)


def _encode(items: dict[str, Any]) -> bytes:
    return json.dumps(items, indent=1).encode()
