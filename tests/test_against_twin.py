"""``python -m tests.against_twin``: kernel and twin agree on some counts of each workload; a difference is told."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks.workloads import WORKLOADS
from tests import against_twin, compiled

assert compiled._twin.__name__ == "streamsample._twin"  # or else skipped as a whole


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("kind", against_twin.KINDS)
@pytest.mark.parametrize("shape", [(1, 600, 40), (2, 96, 150)], ids=["many cells", "few cells"])
def test_kernel_and_twin_agree(name: str, shape: tuple[int, int, int], kind: str) -> None:
    found = against_twin.compare(WORKLOADS[name], shape, seed=2**63 + 1, threads=2, kind=kind)
    assert found.wrong == 0
    assert found.counts == shape[0] * shape[1] * shape[2]


def test_slabs_have_the_counts_that_were_asked_for() -> None:
    for counts in (10_000, 10**6, 10**7):
        sizes = [s * n * t for s, n, t in against_twin.shapes(counts)]
        assert sum(sizes) == pytest.approx(counts, rel=0.05) or counts < 10**6 <= 40 * sum(sizes)


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    computed = against_twin.by_twin

    def off_by_one(*arguments: Any) -> Any:
        counts = computed(*arguments)
        counts[0, 7, 3] += 1
        return counts

    monkeypatch.setattr(against_twin, "shapes", lambda _: [(1, 20, 30)])
    monkeypatch.setattr(sys, "argv", ["against_twin", "deep"])
    assert against_twin.main() == 0
    monkeypatch.setattr(against_twin, "by_twin", off_by_one)
    assert against_twin.main() == 1
    fine, wrong = capsys.readouterr().out.splitlines()
    assert fine.startswith("deep, grouped, 1 x 20 x 30: 0 of 600 counts are wrong; ")
    assert wrong.startswith(
        "deep, grouped, 1 x 20 x 30: 1 of 600 counts are wrong, the first of them at (s, n, t) = (0, 7, 3); "
    )
