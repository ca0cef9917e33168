"""How deeply each cell was sequenced: the size factors of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamsample.interop.labels import check_sum_factors, column, sum_factors
from streamsample.parameters import FloatArray, Names
from streamsample.report.memory import announce

if TYPE_CHECKING:
    from pandas import DataFrame

SUM_FACTOR = "sum_factor"
"""The column that is looked for when none is named."""


@dataclass(frozen=True, eq=False)
class Depth:
    """What is known of the size factors of N cells."""

    totals: FloatArray
    """(N,) total count over the features of the model."""
    label: str
    """What errors call the data."""
    cell_names: Names | None = None
    """(N,) or None."""
    obs: DataFrame | None = None
    """(N, columns) annotation."""
    given: FloatArray | None = None
    """(N,) size factors that came with the counts."""

    def size_factors(self, key: str | None) -> tuple[FloatArray, str | None]:
        """(N,) size factors, and the column that they come from, None if it is not one.

        Those that came with the counts, else the column `key`, else totals over the mean total. A column that is not
        there is an error unless it is the default one.

        Raises
        ------
        DataError
            If a size factor is not a positive number, or the column is not there.
        """
        if self.given is not None:
            check_sum_factors(self.given, f"{self.label}: sum_factor", self.cell_names)
            return self.given, None
        if self.obs is not None and key is not None and (key in self.obs.columns or key != SUM_FACTOR):
            return sum_factors(column(self.obs, key, self.label), key, self.label), key
        mean = float(self.totals.mean())
        missing = f"no column {key!r}: " if key is not None and self.obs is not None else ""
        announce([f"[INFO] {missing}size factors are each cell's total over the mean total, {mean:.1f}"])
        factors = self.totals / mean if mean > 0 else self.totals
        check_sum_factors(factors, f"{self.label}: total counts", self.cell_names)
        return factors, None
