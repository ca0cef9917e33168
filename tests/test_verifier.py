"""A file is checked against its checksums, and against the stream itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample import verifier
from streamsample.errors import CorruptSlab, PlanError, PosteriorError, StoreError
from streamsample.run import Progress
from streamsample.stores.base import store_for
from streamsample.stores.chunk_reader import ChunkedStored
from streamsample.stores.raw import RawStored
from streamsample.verifier import Report, check
from tests.fake_stream import FakeStream, fake_posterior
from tests.test_run import FINE, SHAPE, cut, run

POSTERIOR = fake_posterior(SHAPE)
STREAM = FakeStream(POSTERIOR, seed=5)


@pytest.fixture(params=[".npy", ".h5"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return run(STREAM, tmp_path / f"counts{request.param}")


def checked(path: Path, stream: FakeStream = STREAM, **options: Any) -> Report:
    return check(store_for(path).open(path), stream, path, **options)  # type: ignore[arg-type]


def damage(path: Path, s: int, n: int, t: int) -> None:
    """Change one stored count (uint16) by 256."""
    stored = store_for(path).open(path)
    assert isinstance(stored, RawStored)
    at = stored.extent.offset + 2 * ((s * SHAPE[1] + n) * SHAPE[2] + t) + 1
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_good_file_is_good(path: Path) -> None:
    events: list[Progress] = []
    report = checked(path, progress=events.append)
    total = int(np.prod(SHAPE))
    assert (report.slabs_checked, report.slabs_regenerated) == (7, 7)
    assert report.counts_compared == report.counts_total == total
    assert [event.counts_total for event in events] == [total] * 7
    assert events[-1].counts_done == total


def test_fraction_is_of_the_slabs_and_other_ones_each_time_unless_a_seed_is_given(path: Path) -> None:
    def regenerated(fraction: float, seed: int | None = None) -> list[tuple[int, int, int, int]]:
        stream = FakeStream(POSTERIOR, seed=5)
        report = checked(path, stream, fraction=fraction, seed=seed)
        again = FakeStream(POSTERIOR, seed=5)
        checked(path, again, fraction=fraction, seed=report.seed)
        assert again.fills == stream.fills
        assert report.slabs_regenerated == len(stream.fills)
        return stream.fills

    assert len(regenerated(0.001)) == 1
    assert len(regenerated(0.5)) == 4
    assert regenerated(0.25, 3) == regenerated(0.25, 3)
    assert len({tuple(regenerated(0.4)) for _ in range(20)}) > 1  # of 35 choices; all alike once in 1e29
    assert regenerated(0) == []
    with pytest.raises(PlanError, match=r"a fraction of 1\.5"):
        regenerated(1.5)


@pytest.mark.parametrize("address", [(0, 0, 0), (3, 13, 7), (6, 21, 8)])
def test_one_wrong_count_is_found_and_named_without_regenerating(path: Path, address: tuple[int, int, int]) -> None:
    damage(path, *address)
    s, n, t = address
    right = int(STREAM.counts()[address])
    where = rf"{right + 256} is stored at \(s={s}, n={n}, t={t}\)"
    message = f"samples {s}:{s + 1}, cells 0:22 does not have its checksum: {where}"
    with pytest.raises(CorruptSlab, match=message) as error:
        checked(path, fraction=0)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_addresses_are_those_of_the_posterior(tmp_path: Path) -> None:
    whole = fake_posterior((9, 40, 20))
    stream = FakeStream(whole)
    stream = replace(stream, chosen=stream.selection.narrow("1:8", slice(10, 32), slice(3, 12)))
    path = run(stream, tmp_path / "counts.npy", FINE)
    damage(path, 2, 5, 6)
    with pytest.raises(CorruptSlab, match=r"the slab of samples 3:4, cells 10:32 .* at \(s=3, n=15, t=9\)"):
        checked(path, stream)


def test_a_slab_of_an_irregular_selection_is_named_by_its_ends(tmp_path: Path) -> None:
    stream = FakeStream(fake_posterior((9, 40, 20)))
    stream = replace(stream, chosen=stream.selection.narrow("1:8", [3, 4, 9, *range(20, 39)], slice(3, 12)))
    path = run(stream, tmp_path / "counts.npy", FINE)
    damage(path, 2, 1, 6)
    with pytest.raises(CorruptSlab, match=r"samples 3:4, cells 3 to 38 \(22 of them\) .* at \(s=3, n=4, t=9\)"):
        checked(path, stream)


@pytest.mark.parametrize("end", ["-gzip.h5", "-zstd.h5", ".zarr"])
def test_a_chunk_is_named_by_the_posteriors_indices(end: str, tmp_path: Path) -> None:
    stream = FakeStream(fake_posterior((9, 40, 20)))
    stream = replace(stream, chosen=stream.selection.narrow("1:8", [3, 4, 9, *range(20, 39)], slice(3, 12)))
    path = run(stream, tmp_path / f"counts{end}", FINE)
    stored = store_for(path).open(path)
    assert isinstance(stored, ChunkedStored)
    with stored.chunks() as fetch:
        encoded = fetch(6, 0, 1)
    broken = 0
    for file in [path] if path.is_file() else path.glob("counts/c.*"):
        data = file.read_bytes()
        broken += data.count(encoded)
        file.write_bytes(data.replace(encoded, bytes(len(encoded))))
    assert broken == 1
    told = r"the chunk of sample 7, cells 3 to 20 \(4 of them\), features 6:9 can't be decoded"
    with pytest.raises(CorruptSlab, match=told):
        checked(path, stream)


def test_a_file_that_ends_early_is_told_in_the_same_words(tmp_path: Path) -> None:
    path = run(STREAM, tmp_path / "counts.npy")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptSlab, match=r"the slab of samples 6:7, cells 0:22 can't be read \(.* ends 10 B before"):
        checked(path)


def test_counts_of_another_seed_are_found(path: Path) -> None:
    with pytest.raises(CorruptSlab, match="differs from what its posterior and seed give"):
        checked(path, FakeStream(POSTERIOR, seed=6), fraction=0.01)


def test_pieces_of_a_slab_are_checked_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run(STREAM, tmp_path / "counts.npy", cut(7, 4, SHAPE[1]))
    for nbytes in (1, 100, 500, 10**6):
        monkeypatch.setattr(verifier, "_PIECE_NBYTES", nbytes)
        assert checked(path).counts_compared == np.prod(SHAPE)


def test_damaged_table_is_not_taken_for_wrong_counts(tmp_path: Path) -> None:
    path = run(STREAM, tmp_path / "counts.npy")
    beside = path.with_name("counts.npy.json")
    items = json.loads(beside.read_text())
    items["slabs"][3][4] = "0" * 16
    beside.write_text(json.dumps(items))
    with pytest.raises(CorruptSlab, match="holds the right counts, but its line in the table"):
        checked(path, fraction=0)
    del items["slabs"][3]
    beside.write_text(json.dumps(items))
    with pytest.raises(CorruptSlab, match="does not cover all counts"):
        checked(path)
    items["slabs"] = "none"
    beside.write_text(json.dumps(items))
    with pytest.raises(StoreError, match="is damaged"):
        checked(path)


def test_identity_is_checked_first(path: Path) -> None:
    manifest = store_for(path).open(path).manifest
    verifier._check_identity(manifest, POSTERIOR, path)
    with pytest.raises(PosteriorError, match="was made from another posterior"):
        verifier._check_identity(manifest, fake_posterior((7, 22, 10)), path)
    with pytest.raises(StoreError, match="not complete"):
        verifier._check_identity(replace(manifest, complete=False), POSTERIOR, path)
    with pytest.raises(StoreError, match="follows stream version 3, this program computes 1 to 2; use streamsample"):
        verifier._check_identity(replace(manifest, stream_version=3), POSTERIOR, path)
    with pytest.raises(PosteriorError, match="follows stream version 2 but this posterior's counts follow version 1"):
        verifier._check_identity(replace(manifest, stream_version=2), POSTERIOR, path)
