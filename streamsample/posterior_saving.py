"""Writing a ``posterior.h5``: complete or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from streamsample.errors import OutputExists, StoreError
from streamsample.geometry import minibatches
from streamsample.posterior import Posterior
from streamsample.posterior_file import FORMATS
from streamsample.posterior_parts import write_design, write_names, write_origin


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

    facts, cells = posterior.facts, posterior.cells
    nsamples, nfeatures = facts.nsamples, facts.nfeatures
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMATS[facts.stream_version]
        write_origin(file, posterior.origin)
        file["size_factor"], file["group"] = cells.size_factor, cells.group
        if facts.fitted is not None:
            file["fitted"] = facts.fitted
        if cells.design is not None:
            write_design(file, cells.design)
        for name, names in (
            ("cell_names", cells.names),
            ("feature_names", facts.feature_names),
            ("group_names", facts.group_names),
            ("covariate_names", facts.covariate_names),
        ):
            write_names(file, name, names)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mu", "phi"), (nsamples, nfeatures))
        shapes["alpha"] = nsamples, facts.ngroups, nfeatures
        if facts.zero_inflated:
            shapes["zero_inflation"] = nsamples, nfeatures
        if facts.ncovariates:
            shapes["beta"] = nsamples, facts.ncovariates, nfeatures
        draws = {name: file.create_dataset(name, shape, facts.dtype) for name, shape in shapes.items()}
        for s0, s1 in minibatches(nsamples, posterior.samples_per_read()):
            block = posterior.source.read(np.arange(s0, s1))
            for name, dataset in draws.items():
                dataset[s0:s1] = getattr(block, name)
    with path.open("rb+") as raw:
        os.fsync(raw.fileno())
