"""``posterior.h5``: parameter draws in a file that anyone can write with h5py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.cells import Origin, make_cells
from streamsample.errors import OutputExists, PosteriorError, StoreError
from streamsample.geometry import IndexArray, minibatches
from streamsample.parameters import Facts, Names, Parameters
from streamsample.posterior import Posterior

if TYPE_CHECKING:
    import h5py

FORMAT = "streamsample-posterior-1"

DATASETS = {
    "mu": "ST",
    "phi": "ST",
    "alpha": "SCT",
    "size_factor": "N",
    "group": "N",
    "cell_names": "N",
    "feature_names": "T",
    "group_names": "C",
    "fitted": "T",
}  # the axes of each; mu and phi must be there


@dataclass(frozen=True)
class FileSource:
    """Draws that stay in a ``posterior.h5``; the file is open only while something is read."""

    path: Path
    sizes: Facts

    def facts(self) -> Facts:
        """Tell sizes and names."""
        return self.sizes

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples and features as float64."""
        with _opened(self.path) as file:
            mu, phi, alpha = (_rows(file, name, samples, features) for name in ("mu", "phi", "alpha"))
        if alpha is None:
            alpha = np.ones((samples.size, 1, mu.shape[1]))
        return Parameters(mu, phi, alpha)


def _rows(file: h5py.File, name: str, samples: IndexArray, features: IndexArray | None) -> Any:
    """Read some samples of a dataset, None where the dataset is absent."""
    if name not in file:
        return None
    dataset = file[name]
    s0, s1 = int(samples.min()), int(samples.max()) + 1
    # Plain ranges, then the choice in memory: h5py's own index lists are a hundred times slower.
    columns = slice(None)
    if features is not None:
        columns = slice(int(features.min()), int(features.max()) + 1)
    if s1 - s0 <= 4 * samples.size:
        block = dataset[s0:s1, ..., columns][samples - s0]
    else:
        block = np.stack([dataset[s, ..., columns] for s in samples])
    chosen = block if features is None else block[..., features - columns.start]
    return np.ascontiguousarray(chosen, dtype=np.float64)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; anything else is one line."""
    import h5py

    if not path.exists():
        raise PosteriorError(f"{path}: there is no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise PosteriorError(f"{path} is not a readable HDF5 file ({error})") from error
    with file:
        yield file


def open_posterior(path: Path) -> Posterior:
    """Open a ``posterior.h5`` lazily; see `Posterior.open`."""
    with _opened(path) as file:
        found = file.attrs.get("format")
        if found != FORMAT:
            raise PosteriorError(f"{path} is not a posterior: its attribute 'format' is {found!r}, not {FORMAT!r}")
        _check_datasets(path, file)
        facts = _facts(path, file)
        factors = file["size_factor"][:] if "size_factor" in file else None
        if factors is None and "n_cells" not in file.attrs:
            raise PosteriorError(f"{path} has neither a dataset size_factor nor an attribute n_cells")
        try:
            ncells = None if factors is not None else int(file.attrs["n_cells"])
            origin = _origin(file)
        except (ValueError, TypeError, AttributeError) as error:
            raise PosteriorError(f"{path}: an attribute can't be read ({error})") from error
        group = file["group"][:] if "group" in file else None
        cells = make_cells(factors, group, ncells, _names(path, file, "cell_names"))
    return Posterior(FileSource(path.resolve(), facts), cells, origin)


def _check_datasets(path: Path, file: h5py.File) -> None:
    """Refuse a file whose parts are missing, or not what they are called."""
    import h5py

    for name in ("mu", "phi"):
        if name not in file:
            raise PosteriorError(f"{path} has no dataset {name!r}; it holds {', '.join(sorted(file)) or 'nothing'}")
    for name, axes in DATASETS.items():
        if name not in file:
            continue
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != len(axes):
            what = f"a dataset of shape {dataset.shape}" if isinstance(dataset, h5py.Dataset) else "a group"
            raise PosteriorError(f"{path}: {name!r} is {what}, not a dataset [{', '.join(axes)}]")
        if name.endswith("_names") and h5py.check_string_dtype(dataset.dtype) is None:
            raise PosteriorError(f"{path}: dataset {name!r} holds {dataset.dtype}, not utf-8 text")
        if name in ("mu", "phi", "alpha") and (dataset.dtype.kind, dataset.dtype.itemsize) not in (("f", 4), ("f", 8)):
            raise PosteriorError(f"{path}: dataset {name!r} holds {dataset.dtype}, not float32 or float64")


def _facts(path: Path, file: h5py.File) -> Facts:
    """Read sizes and names; shapes that disagree are refused here, before any draw is read."""
    shapes = {name: file[name].shape for name in ("mu", "phi", "alpha") if name in file}
    mu, alpha = shapes["mu"], shapes.get("alpha")
    if shapes["phi"] != mu:
        raise PosteriorError(f"{path}: mu and phi must both be [S, T], they are {mu} and {shapes['phi']}")
    if alpha is not None and (alpha[0], alpha[2]) != mu:
        raise PosteriorError(f"{path}: alpha must be [S, C, T] with mu's [S, T] = {mu}, it is {alpha}")
    stored = sum(file[name].dtype.itemsize * int(np.prod(shape[1:])) for name, shape in shapes.items())
    return Facts(
        nsamples=mu[0],
        nfeatures=mu[1],
        ngroups=1 if alpha is None else alpha[1],
        bytes_per_sample=stored,
        dtype=np.result_type(*(file[name].dtype for name in shapes)),
        feature_names=_names(path, file, "feature_names"),
        group_names=_names(path, file, "group_names"),
        fitted=file["fitted"][:].astype(bool) if "fitted" in file else None,
    )


def _names(path: Path, file: h5py.File, name: str) -> Names | None:
    """Read a dataset of utf-8 names."""
    try:
        return np.asarray(file[name].asstr()[:], dtype=np.str_) if name in file else None
    except UnicodeDecodeError as error:
        raise PosteriorError(f"{path}: dataset {name!r} is not utf-8 text ({error})") from error


def _origin(file: h5py.File) -> Origin:
    """Read how the fit's cells were described."""
    scale = file.attrs.get("size_factor_scale")
    described = json.loads(file.attrs.get("origin", "{}"))
    return Origin(
        size_factor_scale=None if scale is None else float(scale),
        group_key=tuple(described.get("group_key", ())),
        sum_factor_key=described.get("sum_factor_key"),
        layer=described.get("layer"),
    )


def save_posterior(posterior: Posterior, path: Path, *, overwrite: bool) -> None:
    """Write a ``posterior.h5`` under a partial name and rename it; see `Posterior.save`."""
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; give overwrite=True (--overwrite) to replace it")
    partial = path.with_name(path.name + ".partial")
    try:
        _write(posterior, partial)
        os.replace(partial, path)
    except OSError as error:
        # h5py's own text goes on for three lines where the file can't be made; the number says the same.
        raise StoreError(f"can't write {path}: {os.strerror(error.errno) if error.errno else error}") from error
    finally:
        with suppress(OSError):  # not there after the rename, nor where the folder is a file
            partial.unlink()


def _write(posterior: Posterior, path: Path) -> None:
    """Write every part of a posterior, draws a few samples at a time, and sync."""
    import h5py

    facts, cells, origin = posterior.facts, posterior.cells, posterior.origin
    shape = facts.nsamples, facts.nfeatures
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        if origin.size_factor_scale is not None:
            file.attrs["size_factor_scale"] = origin.size_factor_scale
        described = {"group_key": origin.group_key, "sum_factor_key": origin.sum_factor_key, "layer": origin.layer}
        file.attrs["origin"] = json.dumps(described)
        file["size_factor"], file["group"] = cells.size_factor, cells.group
        if facts.fitted is not None:
            file["fitted"] = facts.fitted
        for name, names in (
            ("cell_names", cells.names),
            ("feature_names", facts.feature_names),
            ("group_names", facts.group_names),
        ):
            if names is not None:
                file.create_dataset(name, data=names.astype(object), dtype=h5py.string_dtype())
        draws = {name: file.create_dataset(name, shape, facts.dtype) for name in ("mu", "phi")}
        draws["alpha"] = file.create_dataset("alpha", (shape[0], facts.ngroups, shape[1]), facts.dtype)
        for s0, s1 in minibatches(facts.nsamples, posterior.samples_per_read()):
            block = posterior.source.read(np.arange(s0, s1))
            for name, dataset in draws.items():
                dataset[s0:s1] = getattr(block, name)
    with path.open("rb+") as raw:
        os.fsync(raw.fileno())
