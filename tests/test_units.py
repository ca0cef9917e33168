"""Sizes are read as SLURM and as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.units import GIB, KIB, MIB, TIB, format_bytes, format_count, format_seconds, parse_bytes


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("64G", 64 * GIB),
        ("64g", 64 * GIB),
        ("64GiB", 64 * GIB),
        ("64gib", 64 * GIB),
        ("64GB", 64 * 10**9),
        ("508800M", 508800 * MIB),
        ("1.5 KiB", 1536),
        (" .5T ", TIB // 2),
        ("2P", 2 * 2**50),
        ("12B", 12),
        ("0", 0),
        ("4096", 4096),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, nbytes: int) -> None:
    assert parse_bytes(text) == nbytes


def test_a_bare_number_counts_in_the_unit_and_a_suffix_wins() -> None:
    assert parse_bytes("15900", unit=MIB) == 15900 * MIB
    assert parse_bytes("1G", unit=MIB) == GIB
    assert parse_bytes("12B", unit=MIB) == 12


@pytest.mark.parametrize("text", ["", "G", "-1G", "64 X", "1e3", "1G2M", "64GiBB", "nan", "infinity", "1,5G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write 64G"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (KIB, "1.0 KiB"), (3.1 * GIB, "3.1 GiB"), (TIB, "1.0 TiB"), (-2 * MIB, "-2.0 MiB")],
)
def test_bytes_for_people(nbytes: float, text: str) -> None:
    assert format_bytes(nbytes) == text


@given(st.integers(0, 2**60))
def test_what_is_written_can_be_read(nbytes: int) -> None:
    assert parse_bytes(format_bytes(nbytes)) == pytest.approx(nbytes, rel=0.051)


@pytest.mark.parametrize(("number", "text"), [(12, "12"), (999, "999"), (2_000, "2.0 k"), (713.4e6, "713.4 M")])
def test_counts_for_people(number: float, text: str) -> None:
    assert format_count(number) == text


def test_terabytes_of_counts() -> None:
    assert format_count(628_000_000_000) == "628.0 G"
    assert format_count(1.5e12) == "1.5 T"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.85, "850 ms"), (12.34, "12.3 s"), (250, "4 min 10 s"), (11_100, "3 h 05 min"), (3600, "1 h 00 min")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
