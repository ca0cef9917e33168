"""The ways to keep a posterior predictive, side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamsample.chunking import Chunking
from streamsample.expectation import ASSUMED
from streamsample.keeping import Way, table, ways
from streamsample.units import GIB

SHAPE = (1000, 21_761, 31_467)


def by_name(**options: object) -> dict[str, Way]:
    found = ways(SHAPE, "uint16", 2, ASSUMED, 4 * 4 * 1000 * 31_467, **options)  # type: ignore[arg-type]
    return {way.name: way for way in found}


def test_sizes_are_those_of_what_would_be_kept() -> None:
    found = by_name()
    assert list(found) == ["raw", "compressed", "virtual", "summary only"]
    assert found["raw"].nbytes == 2 * 1000 * 21_761 * 31_467
    assert found["compressed"].nbytes == pytest.approx(found["raw"].nbytes / 2 * 1.3 * 0.142, rel=1e-6)
    assert found["virtual"].nbytes == 4 * 4 * 1000 * 31_467
    assert found["summary only"].nbytes == 3 * 8 * 1000 * 31_467
    assert found["compressed"].nfiles == pytest.approx(found["compressed"].nbytes / 1e9, rel=1)


def test_times_are_in_the_order_that_the_work_is() -> None:
    found = by_name()
    assert found["virtual"].write_seconds < found["summary only"].write_seconds < found["compressed"].write_seconds
    assert found["summary only"].gene_seconds < found["virtual"].gene_seconds < found["compressed"].gene_seconds
    assert found["compressed"].gene_seconds < found["raw"].gene_seconds
    # A count of a gene is in a page of its own: 21.8 M pages at 17,400 a second.
    assert found["raw"].gene_seconds == pytest.approx(21_761_000 / 17_400, rel=0.01)


def test_the_disk_decides_where_it_is_slower_than_the_kernel() -> None:
    quick = replace(ASSUMED, seconds=1e-12)
    raw, compressed, *_ = ways(SHAPE, "uint32", 2, quick, 1)
    assert raw.write_seconds == pytest.approx(raw.nbytes / 1e9)
    assert compressed.write_seconds >= compressed.nbytes / 1e9


def test_threads_share_the_work_but_not_the_disk() -> None:
    one, eight = (ways(SHAPE, "uint16", threads, ASSUMED, 1) for threads in (1, 8))
    assert one[3].write_seconds > 7 * eight[3].write_seconds
    assert one[0].write_seconds == pytest.approx(SHAPE[0] * SHAPE[1] * SHAPE[2] * ASSUMED.seconds)
    assert eight[0].write_seconds == pytest.approx(eight[0].nbytes / 1e9)


def test_the_plans_own_chunks_are_used() -> None:
    features_together = Chunking((1, 4096, 16), "zstd")
    assert by_name(chunking=features_together)["compressed"].nfiles == 1
    assert by_name(chunking=features_together)["compressed"].gene_seconds < by_name()["compressed"].gene_seconds


def test_the_table_and_the_json_hold_every_way() -> None:
    found = ways(SHAPE, "uint16", 2, ASSUMED, GIB)
    text = table(found)
    assert text.splitlines()[0] == "Ways to keep the result"
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["raw", "compressed", "virtual", "summary"]
    assert "1.2 TiB" in text
    facts = json.loads(json.dumps([way.to_json() for way in found]))
    assert [way["nbytes"] for way in facts] == [way.nbytes for way in found]
