"""From the options that describe a posterior, or a stream of it, to the thing itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streamsample.errors import SelectionError

if TYPE_CHECKING:
    from streamsample.geometry import IndexArray, Shape
    from streamsample.parameters import Names
    from streamsample.posterior import Posterior
    from streamsample.stream import CountStream


@dataclass(frozen=True)
class OtherCells:
    """Cells that the parameters are applied to in place of the posterior's own, as options describe them."""

    path: Path | None
    """AnnData file; None: the posterior's own cells."""
    group_key: list[str] | None
    """Columns of the groups."""
    sum_factor_key: str | None
    """Column of the size factors."""
    layer: str | None
    """Layer of the counts."""
    design: list[str] | None = None
    """Matrix of ``obsm``, or columns of ``obs``, with the covariates."""

    @property
    def options(self) -> list[str]:
        """Options that say how to read the file, as far as they were given."""
        given = {
            "--group-key": self.group_key,
            "--sum-factor-key": self.sum_factor_key,
            "--design": self.design,
            "--layer": self.layer,
        }
        return [option for option, value in given.items() if value]

    def check(self) -> None:
        """Refuse options that would be without effect."""
        if self.path is None and self.options:
            raise typer.BadParameter(f"{self.options[0]} says how to read the file of --for-cells; give that too")

    def put_into(self, posterior: Posterior, path: Path) -> Posterior:
        """Apply a posterior to the cells of a file."""
        design: Any = self.design or None
        return posterior.for_cells(
            path,
            design=design[0] if design and len(design) == 1 else design,
            group_key=self.group_key or None,
            sum_factor_key=self.sum_factor_key,
            layer=self.layer,
        )


@dataclass(frozen=True)
class Part:
    """The part of the axes that options ask for: text of a range, or a file of names; None is all of an axis."""

    samples: str | None = None
    cells: str | None = None
    features: str | None = None

    def of(self, stream: CountStream) -> CountStream:
        """Select it; raises `SelectionError` on a range that leaves its axis."""
        self.check(stream.shape)
        known = stream.posterior.cells.names, stream.posterior.facts.feature_names
        return stream.select(
            _listed("samples", self.samples, None, stream.selection.samples),
            _listed("cells", self.cells, known[0], stream.selection.cells),
            _listed("features", self.features, known[1], stream.selection.features),
        )

    def check(self, shape: Shape) -> None:
        """Raise `SelectionError` on a range that leaves its axis."""
        ranges = {"samples": self.samples, "cells": self.cells, "features": self.features}
        for (name, text), size in zip(ranges.items(), shape, strict=True):
            if text is not None and not Path(text).is_file():
                _check_range(name, text, size)


def open_posterior(path: Path, others: OtherCells) -> Posterior:
    """Open a posterior, and apply it to other cells if there are any."""
    from streamsample.posterior import Posterior

    others.check()
    posterior = Posterior.open(path)
    return posterior if others.path is None else others.put_into(posterior, others.path)


def open_stream(path: Path, others: OtherCells, part: Part, seed: int) -> CountStream:
    """Open a posterior as a stream, and select."""
    from streamsample.stream import CountStream

    return part.of(CountStream(open_posterior(path, others), seed=seed))


def _listed(name: str, text: str | None, known: Names | None, index: IndexArray) -> Any:
    """Read a file of names, or, of an axis without any, of numbers, one a line; anything else is a range already."""
    if text is None or not Path(text).is_file():
        return text
    from streamsample.names import positions_of

    try:
        words = [line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip()]
        chosen = [int(word) for word in words] if known is None else positions_of(words, known, index, name[:-1])
    except ValueError as error:
        raise SelectionError(f"--{name} {text}: not a file of {'numbers' if known is None else 'names'}") from error
    if not words:
        raise SelectionError(f"--{name} {text}: there is nothing in this file")
    return chosen


def _check_range(name: str, text: str, size: int) -> None:
    """Refuse ends that the axis does not have: Python cuts them off, and fewer counts than asked for are written."""
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        return  # the library says what a range is
    ends = parts[:2]
    most = size - 1 if len(parts) == 1 else size
    if any(end is not None and not -size <= end <= most for end in ends):
        raise SelectionError(f"--{name} {text} leaves the axis: there are {size:,} {name}, numbered from 0")
    if len(parts) in (2, 3) and 0 not in parts[2:] and not range(size)[slice(*parts)]:
        raise SelectionError(f"--{name} {text} selects none of the {size:,} {name}; write first:last+1")
