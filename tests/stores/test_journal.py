"""The journal: what has no sound line is not there; lines may come from any number of runs and in any order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsample.errors import StoreError
from streamsample.geometry import Slab
from streamsample.stores.checksums import checksum, combine
from streamsample.stores.coverage import Coverage
from streamsample.stores.journal import Journal, Line, Run, read_journal
from streamsample.stores.manifest import Manifest
from streamsample.stores.table import table_of
from tests.fake_stream import FakeStream, fake_posterior

STREAM = FakeStream(fake_posterior((4, 20, 3)))
MANIFEST = Manifest(7, STREAM.posterior.digest(), STREAM.selection, "uint16", layout={"chunks": None, "codec": None})
LINES = (
    Line(Slab(0, 1, 0, 20), (1,)),
    Line(Slab(1, 3, 0, 20), (2, 3)),
    Line(Slab(3, 4, 4, 8), (4,), (Run("c/3", 4096, b"\x01\0\0\0\x02\0\0\0"),)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal.create(tmp_path / "journal", MANIFEST)
    journal.append(LINES[:2])
    journal.append(LINES[2:])
    journal.close()
    return tmp_path / "journal"


def test_comes_back_whole(path: Path) -> None:
    record = read_journal(path)
    assert record is not None
    assert record.lines == LINES
    assert not record.finished
    assert record.share == (3 * 20 + 4) / 80
    assert MANIFEST.difference(record.manifest) is None


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "journal") is None


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_a_torn_last_line_is_not_there_and_does_not_swallow_the_next(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    journal.append([Line(Slab(3, 4, 8, 12), (5,))])
    journal.finish()
    journal.close()
    record = read_journal(path)
    assert record is not None
    assert record.lines == (*LINES[: 3 if cut == 1 else 2], Line(Slab(3, 4, 8, 12), (5,)))
    assert record.finished


def test_counts_that_are_there_twice_are_taken_once(path: Path) -> None:
    journal = Journal(path)
    journal.append([Line(Slab(3, 4, 0, 20), (9,)), LINES[0], Line(Slab(3, 4, 0, 4), (9,))])
    journal.close()
    record = read_journal(path)
    assert record is not None
    assert record.lines == (*LINES, Line(Slab(3, 4, 0, 4), (9,)))


def test_without_its_first_line_nothing_can_be_continued(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"x" + data[1:])
    with pytest.raises(StoreError, match="names the run, is damaged"):
        read_journal(path)
    path.write_bytes(data.split(b"\n")[0][:50])  # torn before anything was safe
    assert read_journal(path) is None


def test_the_run_that_differs_is_named() -> None:
    other = Manifest(7, "0" * 64, STREAM.selection, "uint16")
    told = MANIFEST.difference(other)
    assert told is not None
    assert told.startswith("posterior_digest is 0000")
    assert MANIFEST.difference(MANIFEST.completed(())) is None


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_checksums_of_pieces_give_that_of_the_whole(a: bytes, b: bytes, c: bytes) -> None:
    two = combine(checksum(a), checksum(b), len(b))
    assert combine(two, checksum(c), len(c)) == checksum(a + b + c)


def test_checksum_is_crc32c() -> None:
    assert checksum(b"123456789") == 0xE3069283


SLABS = st.builds(
    lambda s, n, ds, dn: Slab(s, s + ds, n, n + dn),
    st.integers(0, 5),
    st.integers(0, 9),
    st.integers(1, 4),
    st.integers(1, 9),
)


@given(st.lists(SLABS, max_size=6), SLABS)
def test_what_is_missing_is_what_no_slab_has(there: list[Slab], wanted: Slab) -> None:
    def places(slab: Slab) -> set[tuple[int, int]]:
        return {(s, n) for s in range(slab.s0, slab.s1) for n in range(slab.n0, slab.n1)}

    coverage, has = Coverage(), set[tuple[int, int]]()
    for slab in there:
        assert coverage.overlaps(slab) == bool(places(slab) & has)
        for piece in coverage.missing(slab):
            coverage.add(piece)
        has |= places(slab)
    missing = [*coverage.missing(wanted)]
    assert set().union(*map(places, missing)) == places(wanted) - has
    assert sum(len(places(piece)) for piece in missing) == len(places(wanted) - has)


def test_the_table_does_not_depend_on_the_slabs_and_wants_all_of_them() -> None:
    counts = bytes(range(120))  # one sample of 20 cells x 3 features, uint16
    whole = table_of([Line(Slab(0, 1, 0, 20), (checksum(counts),))], (1, 20, 3), "uint16")
    parts = [Line(Slab(0, 1, a, b), (checksum(counts[6 * a : 6 * b]),)) for a, b in ((8, 20), (0, 4), (4, 8))]
    assert table_of(parts, (1, 20, 3), "uint16") == whole
    with pytest.raises(StoreError, match="sample 0 of the output has 4 of 20 cells"):
        table_of([parts[1], parts[0]], (1, 20, 3), "uint16")
