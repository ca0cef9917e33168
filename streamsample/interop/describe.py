"""What an ``.h5ad`` file holds, and the command that fits it."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsample.interop.counts import holds_counts
from streamsample.interop.table import Table, open_table

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

MIN_GROUPS, MAX_GROUPS = 2, 50
_TECHNICAL = (
    r"(bio|tech|biol)?rep(l|licate)?",
    r"batch",
    r"(micro)?plate",
    r"lane",
    r"flowcell|chip|channel|gem",
    r"run|library|lib|pool",
    r"sample",
    r"donor",
    r"orig",
)  # words of a column's name, likeliest first: samples and donors may be biology as well
_BIOLOGY = r"type|sex|gender|age|stage|condition|treatment|disease|status|tissue|site"  # sample_type, donor_sex
_SIZE_FACTOR = re.compile(r"(sum|size|scale|norm)[_. ]?factor", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One matrix of a file."""

    name: str
    """``X``, or the layer's name."""
    dtype: str
    """Type of its numbers."""
    is_sparse: bool
    """Whether only non-zero values are stored."""
    is_counts: bool
    """Whether its first 1,000 rows are counts."""


@dataclass(frozen=True)
class Description:
    """What an ``.h5ad`` file holds."""

    path: str
    """Where it is."""
    ncells: int
    """N."""
    nfeatures: int
    """T."""
    layers: tuple[Layer, ...]
    """``X`` first."""
    groups: dict[str, dict[str, int]]
    """Columns that may be technical groups, likeliest first: of each, the cells of every value."""
    size_factors: tuple[str, ...]
    """Columns of positive numbers that may be size factors, likeliest first."""

    @property
    def technical(self) -> tuple[str, ...]:
        """Those of the group columns that are named like a technical one: replicate, batch, plate."""
        return tuple(key for key in self.groups if _rank(key) < len(_TECHNICAL))

    def advice(self) -> str:
        """Tell in a line how to choose among the group columns."""
        if not self.groups:
            return "no column looks like groups (text or categorical, 2 to 50 values)"
        found = ", ".join(self.technical) or "no column is named like one"
        return f"choose the technical one (replicate, batch, plate), not one of biology or treatment: {found}"

    def command(self) -> str:
        """Return a ready command that fits the file; placeholders stand in capitals.

        The group is the likeliest technical column, and a placeholder where none is named like one: a fit by cell type
        or treatment would take the biology out of the means.
        """
        words = [
            "streamsample",
            "fit",
            self.path,
            "-o",
            "posterior.h5",
            "--group-key",
            next(iter(self.technical), "TECHNICAL_COLUMN"),
        ]
        counts = [layer.name for layer in self.layers if layer.is_counts]
        if "X" not in counts:
            words += ["--layer", counts[0] if counts else "LAYER"]
        if self.size_factors and _SIZE_FACTOR.search(self.size_factors[0]):
            words += ["--sum-factor-key", self.size_factors[0]]
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        """Return everything, and the command, as plain values."""
        layers = {layer.name: {k: v for k, v in vars(layer).items() if k != "name"} for layer in self.layers}
        return {
            **vars(self),
            "layers": layers,
            "size_factors": list(self.size_factors),
            "technical": list(self.technical),
            "command": self.command(),
        }


def describe(source: str | os.PathLike[str] | AnnData) -> Description:
    """Look at an ``.h5ad`` file, or an AnnData object.

    Raises
    ------
    DataError
        If there is no such file, or it is not an AnnData file.
    """
    with open_table(source) as table:
        return Description(
            path=table.label,
            ncells=table.shape[0],
            nfeatures=table.shape[1],
            layers=tuple(_layer(table, name) for name in table.matrices),
            groups=_groups(table.obs),
            size_factors=_size_factors(table.obs),
        )


def _layer(table: Table, name: str) -> Layer:
    matrix = table.matrices[name]
    return Layer(name, str(matrix.dtype), hasattr(matrix, "format"), holds_counts(table, name))


def _groups(obs: DataFrame) -> dict[str, dict[str, int]]:
    """Columns of a few repeated labels, those named like a technical one first, then those with fewest values."""
    found = {}
    for key in filter(lambda key: _is_label(obs[key]), obs.columns):
        sizes = {str(name): int(size) for name, size in obs[key].value_counts().items() if size > 0}
        if MIN_GROUPS <= len(sizes) <= min(MAX_GROUPS, len(obs) // 2):
            found[str(key)] = dict(sorted(sizes.items()))
    order = sorted(found, key=lambda key: (_rank(key), len(found[key])))
    return {key: found[key] for key in order}


def _rank(key: str) -> int:
    """Place of a column's name among the technical words; their number where it has none of them."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)]
    if any(re.fullmatch(_BIOLOGY, word) for word in words):
        return len(_TECHNICAL)
    for rank, pattern in enumerate(_TECHNICAL):
        if any(re.fullmatch(rf"({pattern})(s|es|id|no|nr|name)?", word) for word in words):
            return rank
    return len(_TECHNICAL)


def _is_label(values: Any) -> bool:
    """Tell whether a column is categorical or text."""
    return values.dtype.name in ("category", "object", "string", "str")


def _size_factors(obs: DataFrame) -> tuple[str, ...]:
    """Columns of positive, finite floats, those named like size factors first."""
    floats = [key for key in obs.columns if obs[key].dtype.kind == "f"]
    good = [str(key) for key in floats if (np.isfinite(obs[key]) & (obs[key] > 0)).all()]
    return tuple(sorted(good, key=lambda key: _SIZE_FACTOR.search(key) is None))
