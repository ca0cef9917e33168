"""``.h5``: one contiguous dataset with named dimensions; HDF5 never sees the counts go by.

h5py makes the file in memory, without the counts: an image, which is a function of manifest and names. It is written
around the counts by plain writes when a run begins or is resumed, and once more, with the checksums, when it is
finished. So there is no state of HDF5's that a killed process could leave half-written, no global lock while counts
are written, and the dirty pages are ours to bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from streamsample.chunking import Chunking
from streamsample.errors import CorruptSlab, StoreError
from streamsample.stores import hdf5_chunked
from streamsample.stores.base import Labels, Landing
from streamsample.stores.hdf5_chunked import Hdf5Chunked
from streamsample.stores.hdf5_frame import (
    COUNTS,
    SEAL,
    read_manifest,
    text_of,
    write_attributes,
    write_dimensions,
    write_table,
)
from streamsample.stores.image import SparseImage
from streamsample.stores.journal import Line
from streamsample.stores.manifest import FORMAT, Manifest
from streamsample.stores.raw import ALIGNMENT, Extent, Frame, RawLanding, RawStored, around_counts, put_frame
from streamsample.stores.seal import PLACE, is_sealed, seal_of


class Hdf5Store:
    """Writes and reads ``NAME.h5``."""

    is_folder = False

    def files(self, path: Path) -> tuple[Path, ...]:
        """All is in one file."""
        return (path,)

    def begin(self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line], threads: int = 1) -> Landing:
        """Write dimensions and manifest, with room for the counts."""
        if manifest.layout["codec"] is not None:
            return hdf5_chunked.begin(path, manifest, labels, lines, threads)
        frame, extent, size = _frame(manifest, labels)
        if lines:
            _check_place(path, extent)
        put_frame(path, frame, size, fresh=not lines)
        return RawLanding(path, extent)

    def finish(self, path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line]) -> None:
        """Write the same once more, with the checksums."""
        if manifest.layout["codec"] is not None:
            hdf5_chunked.finish(path, manifest, labels, lines)
            return
        frame, _, size = _frame(manifest, labels)
        put_frame(path, frame, size, fresh=False)

    def open(self, path: Path) -> Hdf5Stored | Hdf5Chunked:
        """Read the manifest and find the counts."""
        if not path.is_file():
            raise StoreError(f"{path}: there is no such file")
        try:
            with h5py.File(path, "r", locking=False) as file:
                found = text_of(file.attrs.get("format"))
                if found != FORMAT:
                    raise StoreError(f"{path} is not ours: its format is {found!r}, not {FORMAT!r}")
                manifest = read_manifest(file, str(path))
                counts = file[COUNTS]
                shape, dtype, offset, chunks = counts.shape, counts.dtype, counts.id.get_offset(), counts.chunks
                seal = file.attrs.get(SEAL)
        except StoreError:
            raise
        except Exception as error:  # h5py raises whatever it comes to in a damaged file
            if "truncated file" in str(error):
                raise StoreError(f"{path} is cut short: it ends before its counts do; write it again") from error
            reason = " ".join(str(error).split())
            raise StoreError(f"{path} is not a readable file of counts ({reason})") from error
        chunking = Chunking.of_layout(manifest.layout)
        promised = manifest.shape, np.dtype(manifest.dtype), None if chunking is None else chunking.chunks
        if (shape, dtype, chunks) != promised or (offset is None and chunking is None):
            raise StoreError(f"{path} holds {dtype} {shape}, its manifest says {manifest.dtype} {manifest.shape}")
        if chunking is not None:
            return Hdf5Chunked(path, manifest, chunking)
        return Hdf5Stored(path, Extent(offset, manifest), None if seal is None else bytes(seal))


@dataclass(frozen=True)
class Hdf5Stored(RawStored):
    """Counts within an HDF5 file."""

    seal: bytes | None
    """Of everything else in it."""

    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless all that is not counts is as it was written."""
        if self.seal is None and self.manifest.checksum == "xxh3_64":  # a file of 0.1.0, which had none
            return
        if self.seal is None or not is_sealed(around_counts(self.path, self.extent), self.seal):
            end = self.extent.end
            raise CorruptSlab(
                f"{self.path} is damaged outside of its counts (before byte {self.extent.offset} or from {end} on), "
                "where names, indices and the manifest are: it does not have its seal; write it again"
            )


def _frame(manifest: Manifest, labels: Labels) -> tuple[Frame, Extent, int]:
    """Return everything but the counts, sealed, where the counts lie, and the size of the file."""
    image = SparseImage()
    # Objects smaller than the threshold are not aligned, and the counts may be few.
    threshold = min(ALIGNMENT, Extent(0, manifest).nbytes)
    with h5py.File(image, "w", alignment_threshold=threshold, alignment_interval=ALIGNMENT) as file:
        write_attributes(file, manifest)
        write_table(file, manifest)
        extent = Extent(_allocate(file, manifest), manifest)
        write_dimensions(file, manifest.selection, labels)
        file.attrs[SEAL] = np.bytes_(PLACE)
    before, after = image.outside(extent.offset, extent.end)
    data = (before + after).replace(PLACE, seal_of(before + after))
    size = max(image.nbytes, extent.end)
    return [(0, data[: extent.offset]), (extent.end, data[extent.offset :])], extent, size


def _check_place(path: Path, extent: Extent) -> None:
    """Refuse to continue a file in which another version of HDF5 has put the counts elsewhere."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            offset = file[COUNTS].id.get_offset()
    except (OSError, KeyError):  # killed while the image was written; it is written again
        return
    if offset != extent.offset:
        raise StoreError(
            f"{path} has its counts at byte {offset}, this version of HDF5 would put them at {extent.offset}; "
            "continue with the version it was begun with, or give overwrite=True (--overwrite) to start again"
        )


def _allocate(file: h5py.File, manifest: Manifest) -> int:
    """Make the contiguous dataset, without filling it, and return the offset of its bytes."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same run gives the same bytes
    space = h5py.h5s.create_simple(manifest.shape)
    kind = h5py.h5t.py_create(np.dtype(manifest.dtype))
    offset = h5py.h5d.create(file.id, COUNTS.encode(), kind, space, dcpl=layout).get_offset()
    return int(offset)
