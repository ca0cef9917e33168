"""``xarray.open_dataset(path, engine="streamsample")``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray
from xarray.backends import BackendEntrypoint

from streamsample.virtual import is_virtual


class Engine(BackendEntrypoint):
    """Opens counts of any kind, virtual ones above all, which no other engine knows."""

    description = "Counts that are computed when they are read, and files of counts"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(  # type: ignore[override]
        self, filename_or_obj: str | os.PathLike[str], *, drop_variables: str | Iterable[str] | None = None
    ) -> xarray.Dataset:
        """Open what `streamsample.open` opens, lazily."""
        from streamsample.interop.xarray_view import to_xarray
        from streamsample.stored import open

        dataset = to_xarray(open(filename_or_obj)).to_dataset()
        return dataset if drop_variables is None else dataset.drop_vars(drop_variables)

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Tell a virtual dataset; engines for HDF5 read the other files as well."""
        return isinstance(filename_or_obj, str | os.PathLike) and is_virtual(Path(filename_or_obj))
