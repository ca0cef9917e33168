"""``posterior.h5``: parameter draws in a file that anyone can write with h5py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamsample.cells import make_cells
from streamsample.errors import PosteriorError
from streamsample.geometry import IndexArray
from streamsample.lying import Lying
from streamsample.parameters import Facts, FloatArray, Parameters, list_names
from streamsample.posterior import Posterior
from streamsample.posterior_parts import read_design, read_names, read_origin

if TYPE_CHECKING:
    import h5py

FORMATS = {1: "streamsample-posterior-1", 2: "streamsample-posterior-2"}
"""By the version of the stream that the draws call for."""

DRAWS = {"mu": "ST", "phi": "ST", "alpha": "SCT", "zero_inflation": "ST", "beta": "SKT"}
"""The axes of each dataset that is read a minibatch at a time; phi must be there, and mu or beta."""

DATASETS = DRAWS | {
    "size_factor": "N",
    "group": "N",
    "cell_names": "N",
    "feature_names": "T",
    "group_names": "C",
    "covariate_names": "K",
    "fitted": "T",
}
SECOND = ("zero_inflation", "beta", "design")
"""What a file of the first format can't have."""


@dataclass(frozen=True)
class FileSource:
    """Draws that stay in a ``posterior.h5``; the file is open only while something is read."""

    path: Path
    sizes: Facts
    lying: Lying | None = None
    """Where the draws lie in the file, if they lie as they are."""

    def facts(self) -> Facts:
        """Tell sizes and names."""
        return self.sizes

    def read(self, samples: IndexArray, features: IndexArray | None = None) -> Parameters:
        """Read the given samples and features as float64."""
        found = None if self.lying is None else self.lying.read(self.path, samples, features)
        if found is None:
            with _opened(self.path) as file:
                found = {name: _rows(file[name], samples, features) for name in DRAWS if name in file}
        shape = found["phi"].shape
        found.setdefault("mu", np.ones(shape))
        found.setdefault("alpha", np.ones((shape[0], 1, shape[1])))
        return Parameters(**found)


def _rows(dataset: h5py.Dataset, samples: IndexArray, features: IndexArray | None) -> FloatArray:
    """Read some samples of a dataset."""
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
        if found not in FORMATS.values():
            formats = " or ".join(map(repr, FORMATS.values()))
            raise PosteriorError(f"{path} is not a posterior: its attribute 'format' is {found!r}, not {formats}")
        beyond = [name for name in SECOND if name in file]
        if beyond and found == FORMATS[1]:
            raise PosteriorError(
                f"{path} holds {list_names(beyond)} but its attribute 'format' is {found!r}, whose readers leave that "
                f"out; it must be {FORMATS[2]!r}"
            )
        _check_datasets(path, file)
        facts = _facts(path, file)
        lying = Lying.of(path, {name: file[name] for name in DRAWS if name in file})
        factors = file["size_factor"][:] if "size_factor" in file else None
        if factors is None and "n_cells" not in file.attrs and "design" not in file:
            raise PosteriorError(f"{path} has neither a dataset size_factor nor an attribute n_cells")
        try:
            ncells = int(file.attrs["n_cells"]) if factors is None and "n_cells" in file.attrs else None
            origin = read_origin(file)
        except (ValueError, TypeError, AttributeError) as error:
            raise PosteriorError(f"{path}: an attribute can't be read ({error})") from error
        group = file["group"][:] if "group" in file else None
        design = read_design(path, file["design"]) if "design" in file else None
        cells = make_cells(factors, group, ncells, read_names(path, file, "cell_names"), design)
    return Posterior(FileSource(path.resolve(), facts, lying), cells, origin)


def _check_datasets(path: Path, file: h5py.File) -> None:
    """Refuse a file whose parts are missing, or not what they are called."""
    import h5py

    for name in ("phi",) if "beta" in file else ("mu", "phi"):
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
        if name in DRAWS and (dataset.dtype.kind, dataset.dtype.itemsize) not in (("f", 4), ("f", 8)):
            raise PosteriorError(f"{path}: dataset {name!r} holds {dataset.dtype}, not float32 or float64")


def _facts(path: Path, file: h5py.File) -> Facts:
    """Read sizes and names; shapes that disagree are refused here, before any draw is read."""
    shapes = {name: file[name].shape for name in DRAWS if name in file}
    owner = "mu" if "mu" in shapes else "phi"
    mu = shapes[owner]
    if shapes["phi"] != mu:
        raise PosteriorError(f"{path}: mu and phi must both be [S, T], they are {mu} and {shapes['phi']}")
    for name, axes in (("alpha", "[S, C, T]"), ("beta", "[S, K, T]"), ("zero_inflation", "[S, T]")):
        shape = shapes.get(name, mu)
        if (shape[0], shape[-1]) != mu:
            raise PosteriorError(f"{path}: {name} must be {axes} with {owner}'s [S, T] = {mu}, it is {shape}")
    if "beta" in shapes and shapes["beta"][1] == 0:
        raise PosteriorError(f"{path}: beta has no covariates, its shape [S, K, T] is {shapes['beta']}")
    stored = sum(file[name].dtype.itemsize * int(np.prod(shape[1:])) for name, shape in shapes.items())
    return Facts(
        nsamples=mu[0],
        nfeatures=mu[1],
        ngroups=shapes["alpha"][1] if "alpha" in shapes else 1,
        bytes_per_sample=stored,
        dtype=np.result_type(*(file[name].dtype for name in shapes)),
        feature_names=read_names(path, file, "feature_names"),
        group_names=read_names(path, file, "group_names"),
        fitted=file["fitted"][:].astype(bool) if "fitted" in file else None,
        ncovariates=shapes["beta"][1] if "beta" in shapes else 0,
        covariate_names=read_names(path, file, "covariate_names"),
        zero_inflated="zero_inflation" in shapes,
    )
