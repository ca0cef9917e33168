"""The peak of each kind of run is at most its forecast, and not far below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cgroup import available
from tests.forecast import BEGIN, CASES, DOCUMENT, END, Case, measure, warm

WITHOUT_GROUPS = available()


@pytest.mark.skipif(WITHOUT_GROUPS is not None, reason=WITHOUT_GROUPS or "")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_peak_is_within_60_to_100_percent_of_the_forecast(case: Case, tmp_path: Path) -> None:
    if not case.cold:
        warm(case.options.get("dtype", "uint16"), tmp_path)
    measured = measure(case, tmp_path)
    assert 0.6 <= measured.share <= 1.0, measured.row()


def test_documented_table_has_every_case_and_keeps_to_the_same_bounds() -> None:
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    rows = [line.split("|")[1:-1] for line in rest.partition(END)[0].strip().splitlines()[2:]]
    assert [row[1].strip() for row in rows] == [str(case) for case in CASES]
    assert all(60 <= int(row[-1].strip().rstrip("%")) <= 100 for row in rows)
