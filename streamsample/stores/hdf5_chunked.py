"""``.h5`` with encoded chunks; HDF5 never sees them go by.

As for contiguous counts, h5py makes an image of everything else in memory. It has room for HDF5's index of chunks,
which is filled in without HDF5, too (`fixed_array`). The chunks come after it, in the order in which they are made.
While a run is under way the index is empty and the journal alone knows where chunks are. `finish` writes image and
index anew from manifest, names and journal, so it may be cut off and repeated, whatever it has left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from streamsample.chunking import Chunking
from streamsample.errors import CorruptSlab, StoreError
from streamsample.stores.base import Labels
from streamsample.stores.chunk_reader import ChunkedStored, Fetch
from streamsample.stores.chunked import ChunkedLanding, check_there, ends_of, placed
from streamsample.stores.codecs import codec_of
from streamsample.stores.direct import BLOCK_NBYTES
from streamsample.stores.disk import refusal, sync_folder, write_all
from streamsample.stores.fixed_array import FixedArray, with_end_of_file
from streamsample.stores.hdf5_frame import COUNTS, SEAL, TABLE, write_attributes, write_dimensions, write_table
from streamsample.stores.image import SparseImage
from streamsample.stores.journal import Line
from streamsample.stores.manifest import Manifest
from streamsample.stores.seal import PLACE, is_sealed, seal_of
from streamsample.units import MIB

BEGIN = "chunks_begin"
"""Attribute: first byte of the chunks."""
_AT_ONCE = 2**20


def begin(path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line], threads: int) -> ChunkedLanding:
    """Write the image without chunks, and append to those that are there; see `Store.begin`."""
    chunking = _chunking(manifest, path)
    frame = _Frame(path, manifest, labels)
    ends = ends_of(lines)
    if lines:
        frame.check_room(lines)
        check_there(ends, lambda _: path)
    frame.put(frame.begin, (), fresh=not lines)
    ends = ends or {"": frame.begin}
    return ChunkedLanding(manifest, chunking, ends, lambda _: path, lambda _: "", threads)


def finish(path: Path, manifest: Manifest, labels: Labels, lines: Sequence[Line]) -> None:
    """Write image and index; see `Store.finish`."""
    frame = _Frame(path, manifest, labels)
    frame.check_room(lines)
    frame.put(ends_of(lines)[""], lines, fresh=False)


class Hdf5Chunked(ChunkedStored):
    """Chunks within an HDF5 file, found by HDF5 and decoded here: no plug-in is needed."""

    @contextmanager
    def chunks(self) -> Iterator[Fetch]:
        """Open the file."""
        _, ncells, nfeatures = self.chunking.chunks
        with h5py.File(self.path, "r", locking=False) as file:
            dataset = file[COUNTS].id

            def fetch(s: int, i: int, j: int) -> bytes:
                try:
                    mask, data = dataset.read_direct_chunk((s, i * ncells, j * nfeatures))
                except Exception as error:  # h5py raises whatever it comes to in a damaged file
                    raise ValueError(" ".join(str(error).split())) from error
                if mask:
                    raise ValueError(f"filters are left out ({mask})")
                return bytes(data)

            yield fetch

    def check_frame(self) -> None:
        """Raise `CorruptSlab` unless all that is neither counts nor their index is as it was written.

        HDF5 compares each page of the index with its checksum when it looks for a chunk.
        """
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                begin, seal = int(file.attrs[BEGIN]), bytes(file[TABLE][SEAL][()])
            sealed = is_sealed(self._around(begin), seal)
        except Exception as error:  # h5py raises whatever it comes to in a damaged file
            raise CorruptSlab(f"{self.path} is damaged ({' '.join(str(error).split())}); write it again") from error
        if not sealed:
            raise CorruptSlab(
                f"{self.path} is damaged outside of its counts (before byte {begin}), where names, indices and the "
                "manifest are: it does not have its seal; write it again"
            )

    def _around(self, begin: int) -> bytes:
        """Read everything before the chunks but their index."""
        with self.path.open("rb") as file:
            array = FixedArray.find(file.read(MIB))
            end = array.address + array.nbytes
            file.seek(0)
            before = file.read(array.address)
            file.seek(end)
            return before + file.read(max(0, begin - end))


class _Frame:
    """Everything in a file but the chunks."""

    def __init__(self, path: Path, manifest: Manifest, labels: Labels) -> None:
        self._path = path
        self._manifest = manifest
        self._chunking = _chunking(manifest, path)
        self.begin = -(-_image(manifest, labels, 0).nbytes // BLOCK_NBYTES) * BLOCK_NBYTES
        """First byte of the chunks."""
        image = _image(manifest, labels, self.begin)
        # HDF5 makes the header just before the array, and the array before the names.
        self.array = FixedArray.find(image.outside(min(MIB, image.nbytes), image.nbytes)[0])
        end = self.array.address + self.array.nbytes
        self._before, after = image.outside(self.array.address, end)
        self._after = after.ljust(self.begin - end, b"\0")

    def check_room(self, lines: Sequence[Line]) -> None:
        """Refuse to write over chunks where another version of HDF5 needs more room around them."""
        first = min(run.offset for line in lines for run in line.runs)
        if first < self.begin:
            raise StoreError(
                f"{self._path} has its counts at byte {first}, this version of HDF5 would put them at {self.begin}; "
                "continue with the version it was begun with, or give overwrite=True (--overwrite) to start again"
            )

    def put(self, end: int, lines: Sequence[Line], *, fresh: bool) -> None:
        """Write it into a file that ends at `end`, with the index of the chunks in `lines`; it lasts on return."""
        before = with_end_of_file(self._before, end)
        whole = before + self._after
        sealed = whole.replace(PLACE, seal_of(whole))
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if fresh else 0)
        try:
            descriptor = os.open(self._path, flags, 0o666)
            try:
                write_all(descriptor, memoryview(sealed[: self.array.address]), 0)
                at = self.array.address
                for piece in self.array.fill(self._places(lines)):
                    write_all(descriptor, memoryview(piece), at)
                    at += len(piece)
                write_all(descriptor, memoryview(sealed[self.array.address :]), at)
                if fresh or lines:
                    os.ftruncate(descriptor, end)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self._path.parent)
        except OSError as error:
            raise refusal(self._path, error) from error

    def _places(self, lines: Sequence[Line]) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint32]]]:
        """Return offset and length of each chunk, in C order of the grid; of none where there are no lines."""
        if not lines:
            for i in range(0, self.array.nelements, _AT_ONCE):
                nothing = np.full(min(_AT_ONCE, self.array.nelements - i), 2**64 - 1, np.uint64)  # undefined addresses
                yield nothing, np.zeros(nothing.size, np.uint32)
        for place in sorted(placed(lines, self._chunking, self._manifest.shape), key=lambda place: place[:2]):
            yield place.offsets, place.sizes


def _image(manifest: Manifest, labels: Labels, begin: int) -> SparseImage:
    """Make the file without its chunks, with an index that is still empty."""
    image = SparseImage()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:  # earlier versions have no Fixed Array
        dataset = _make_dataset(file, manifest)
        dataset.write_direct_chunk((0, 0, 0), b"\0")  # makes HDF5 make the array
        write_attributes(file, manifest)
        write_table(file, manifest)
        write_dimensions(file, manifest.selection, labels)
        file.attrs[BEGIN] = np.uint64(begin)
        file[TABLE][SEAL] = np.bytes_(PLACE)  # headers, where attributes are, have checksums of HDF5's own
    return image


def _make_dataset(file: h5py.File, manifest: Manifest) -> h5py.h5d.DatasetID:
    """Make the chunked dataset, with its filters; their libraries are needed for reading only."""
    chunking = _chunking(manifest, "the plan")
    if chunking.nchunks(manifest.shape) < 2:
        raise StoreError(f"counts of shape {manifest.shape} are too few to be compressed in .h5; choose none")
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk(chunking.chunks)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same run gives the same bytes
    itemsize = np.dtype(manifest.dtype).itemsize
    for number, flags, values in codec_of(chunking.codec, "the plan").hdf5_filters(chunking.chunks[1:], itemsize):
        layout.set_filter(number, flags, values)
    space = h5py.h5s.create_simple(manifest.shape)
    kind = h5py.h5t.py_create(np.dtype(manifest.dtype))
    return h5py.h5d.create(file.id, COUNTS.encode(), kind, space, dcpl=layout)


def _chunking(manifest: Manifest, source: object) -> Chunking:
    """Return the chunks of a manifest that has some."""
    chunking = Chunking.of_layout(manifest.layout)
    if chunking is None:
        raise StoreError(f"{source} has no chunks")
    return chunking
