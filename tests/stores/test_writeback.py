"""Few bytes are on their way to the disk at any time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamsample.stores import writeback
from streamsample.stores.writeback import Writeback


@pytest.mark.parametrize("sizes", [[1] * 50, [10] * 5, [7, 3, 25, 1, 1, 1, 30], [100]])
def test_dirty_bytes_are_bounded_and_all_are_synced(
    sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = np.zeros(sum(sizes), dtype=np.int8)  # 0: not written, 1: dirty, 2: started, 3: on the disk

    def sync(_: int, offset: int, nbytes: int, flags: int) -> None:
        assert (state[offset : offset + nbytes] >= 1).all()
        state[offset : offset + nbytes] = 2 if flags == writeback._START else 3

    monkeypatch.setattr(writeback, "_sync_range", sync)
    with (tmp_path / "file").open("wb") as file:
        follower = Writeback(file.fileno(), window=10)
        end = most = 0
        for size in sizes:
            state[end : end + size] = 1
            most = max(most, int(np.isin(state, (1, 2)).sum()))
            follower.wrote(end, size)
            end += size
        follower.flush()
    assert (state == 3).all()
    assert most <= 2 * (10 + max(sizes))


def test_follows_a_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = []

    def sync(_: int, offset: int, nbytes: int, flags: int) -> None:
        if flags == writeback._FINISH:
            finished.append((offset, nbytes))

    monkeypatch.setattr(writeback, "_sync_range", sync)
    with (tmp_path / "file").open("wb") as file:
        follower = Writeback(file.fileno(), window=10)
        for offset in (4096, 4100, 8192):
            follower.wrote(offset, 4)
        follower.flush()
    assert finished == [(4096, 8), (8192, 4)]


def test_falls_back_to_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "_sync_file_range", None)
    synced = []
    monkeypatch.setattr(writeback.os, "fsync", synced.append)
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(25))
        file.flush()
        follower = Writeback(file.fileno(), window=10)
        follower.wrote(0, 25)
        follower.flush()
        assert synced == [file.fileno()]
