"""What a file holds: one of ours, or someone's AnnData."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from streamsample import stores
from streamsample.errors import StoreError
from streamsample.posterior import Posterior
from streamsample.target import FOLDERS, STORES
from streamsample.units import format_bytes
from streamsample.virtual import is_virtual, open_virtual

Facts = dict[str, Any]


def file_facts(path: Path) -> Facts:
    """Tell what a file of ours is, without reading draws or counts.

    Returns
    -------
    dict
        ``kind`` is ``posterior``, ``virtual`` or ``counts``; the rest depends on it, and all of it is plain JSON types.

    Raises
    ------
    StoreError, PosteriorError
        If the file is missing, damaged, or not ours.
    """
    if not path.exists() or path.suffix == ".partial":
        return _unfinished(path)
    found = "streamsample-counts" if path.suffix in (".npy", *FOLDERS) else _format(path)
    if found.startswith("streamsample-counts"):
        return {"kind": "counts", **dataclasses.asdict(stores.describe(path))}
    if not found.startswith("streamsample-posterior"):
        raise StoreError(f"{path} is neither a posterior nor counts: its attribute 'format' is {found!r}")
    known = {"path": str(path), "nbytes": path.stat().st_size}
    if is_virtual(path):
        stream = open_virtual(path)
        version = stream.posterior.facts.stream_version
        seen = {"shape": stream.shape, "seed": stream.seed, "stream_version": version}
        return {"kind": "virtual", **known, **seen, "selection": stream.selection.to_json()}
    return {"kind": "posterior", **known, **_posterior(Posterior.open(path))}


def file_lines(facts: Facts) -> list[str]:
    """Write facts of a file, one a line."""
    shown = {key: value for key, value in facts.items() if value is not None}
    shown["nbytes"] = f"{facts['nbytes']:,} ({format_bytes(facts['nbytes'])})"
    return [f"{key:<21}{_text(value)}" for key, value in shown.items()]


def _unfinished(path: Path) -> Facts:
    """Facts of an output that is still written, or was left by a run that has stopped; from its journal."""
    name = path.with_suffix("") if path.suffix == ".partial" else path
    found = stores.describe_unfinished(name) if name.suffix in STORES else None
    if found is None:
        raise StoreError(f"{path}: there is no such file")
    return {"kind": "counts", "state": "unfinished: sample --resume continues it", **dataclasses.asdict(found)}


def _posterior(posterior: Posterior) -> Facts:
    facts, origin = posterior.facts, posterior.origin
    return {
        "shape": posterior.shape,
        "groups": facts.ngroups,
        "group_names": None if facts.group_names is None else facts.group_names.tolist(),
        "covariates": facts.ncovariates,
        "covariate_names": None if facts.covariate_names is None else facts.covariate_names.tolist(),
        "zero_inflated": facts.zero_inflated,
        "stream_version": facts.stream_version,
        "unfitted_features": int((~posterior.fitted).sum()),
        "cell_names": posterior.cells.names is not None,
        "feature_names": facts.feature_names is not None,
        "size_factor_scale": origin.size_factor_scale,
        "group_key": list(origin.group_key) or None,
        "sum_factor_key": origin.sum_factor_key,
        "layer": origin.layer,
    }


def _format(path: Path) -> str:
    """Return the attribute ``format`` of an HDF5 file, or nothing where there is none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format", "")
            return found.decode() if isinstance(found, bytes) else str(found)
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise StoreError(f"{path} is none of the files that are known: HDF5 (.h5, .h5ad), .zarr and .npy") from None
        raise StoreError(f"{path} can't be read as HDF5 ({error})") from None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        more = f", and {len(value) - 12} more" if len(value) > 12 else ""
        return ", ".join(str(item) for item in value[:12]) + more
    return str(value)
