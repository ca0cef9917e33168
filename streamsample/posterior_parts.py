"""The parts of a ``posterior.h5`` that are read whole: names, the design, how the fit's cells were described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.cells import Origin
from streamsample.designs import Design
from streamsample.errors import PosteriorError
from streamsample.parameters import Names

if TYPE_CHECKING:
    import h5py

CSR = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
"""Attributes by which AnnData marks a group of three arrays as a sparse matrix."""


def read_names(path: Path, file: h5py.File, name: str) -> Names | None:
    """Read a dataset of utf-8 names, None where it is absent."""
    try:
        return np.asarray(file[name].asstr()[:], dtype=np.str_) if name in file else None
    except UnicodeDecodeError as error:
        raise PosteriorError(f"{path}: dataset {name!r} is not utf-8 text ({error})") from error


def write_names(file: h5py.File, name: str, names: Names | None) -> None:
    """Write names where there are any."""
    import h5py

    if names is not None:
        file.create_dataset(name, data=names.astype(object), dtype=h5py.string_dtype())


def read_design(path: Path, item: Any) -> Design:
    """Read a design: a dataset [N, K], or a group as AnnData writes a CSR matrix."""
    import h5py

    try:
        if isinstance(item, h5py.Dataset):
            return Design.of(item[:] if item.ndim else item[()])
        kind, shape = item.attrs.get("encoding-type", CSR["encoding-type"]), item.attrs.get("shape")
        missing = [name for name in ("data", "indices", "indptr") if name not in item]
        if kind != CSR["encoding-type"] or np.shape(shape) != (2,) or missing:
            raise PosteriorError(
                f"group 'design' is no CSR matrix: encoding-type {kind!r}, attribute shape {shape}, "
                f"missing: {', '.join(missing) or 'nothing'}"
            )
        return Design.from_csr(
            (int(shape[0]), int(shape[1])), *(item[name][:] for name in ("indptr", "indices", "data"))
        )
    except PosteriorError as error:
        raise PosteriorError(f"{path}: {error}") from error


def write_design(file: h5py.File, design: Design) -> None:
    """Write a design in the form that it has."""
    if design.dense is not None:
        file["design"] = design.dense
        return
    group = file.create_group("design")
    group.attrs.update(CSR)
    group.attrs["shape"] = np.array(design.shape, dtype=np.int64)
    for name in ("indptr", "indices", "data"):
        group[name] = getattr(design, name)


def read_origin(file: h5py.File) -> Origin:
    """Read how the fit's cells were described."""
    scale = file.attrs.get("size_factor_scale")
    described = json.loads(file.attrs.get("origin", "{}"))
    return Origin(
        size_factor_scale=None if scale is None else float(scale),
        group_key=tuple(described.get("group_key", ())),
        sum_factor_key=described.get("sum_factor_key"),
        layer=described.get("layer"),
    )


def write_origin(file: h5py.File, origin: Origin) -> None:
    """Write how the fit's cells were described."""
    if origin.size_factor_scale is not None:
        file.attrs["size_factor_scale"] = origin.size_factor_scale
    described = {"group_key": origin.group_key, "sum_factor_key": origin.sum_factor_key, "layer": origin.layer}
    file.attrs["origin"] = json.dumps(described)
