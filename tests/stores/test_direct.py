"""Any bytes at any offset, whether the file system takes direct writes or not."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.stores import direct
from streamsample.stores.direct import BLOCK_NBYTES, BlockWriter

SIZE = 40 * BLOCK_NBYTES
RUNS = [(0, 10), (10, 4086), (4096, 8192), (12288, 1), (12289, 30_000), (60_001, SIZE - 60_001), (42_289, 17_712)]


@pytest.fixture
def content() -> bytes:
    return np.random.default_rng(0).bytes(SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


def write(path: Path, content: bytes) -> None:
    writer = BlockWriter(path)
    for offset, nbytes in RUNS:
        writer.write(memoryview(content)[offset : offset + nbytes], offset)
    writer.sync()
    writer.close()


@pytest.mark.parametrize("piece", [BLOCK_NBYTES, 3 * BLOCK_NBYTES, SIZE])
def test_all_bytes_are_there_and_blocks_are_whole(
    path: Path, content: bytes, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "PIECE_NBYTES", piece)
    seen: list[tuple[int, int]] = []
    write_all = direct.write_all

    def watched(descriptor: int, data: memoryview, offset: int) -> None:
        seen.append((offset, len(data)))
        write_all(descriptor, data, offset)

    monkeypatch.setattr(direct, "write_all", watched)
    write(path, content)
    assert path.read_bytes() == content
    large = [(offset, nbytes) for offset, nbytes in seen if nbytes >= BLOCK_NBYTES]
    assert large
    assert all(offset % BLOCK_NBYTES == nbytes % BLOCK_NBYTES == 0 for offset, nbytes in large)


def test_without_direct_writes_all_goes_through_the_cache(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_open_direct", lambda _: None)
    write(path, content)
    assert path.read_bytes() == content


def test_a_file_system_that_changes_its_mind_is_believed(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    pwrite, opened = os.pwrite, direct._open_direct

    def opening(path: Path) -> Any:
        refused.append(opened(path) or os.open(path, os.O_WRONLY))
        return refused[0]

    def refusing(descriptor: int, data: Any, offset: int) -> int:
        if descriptor in refused[:1] and offset > 5 * BLOCK_NBYTES:
            raise OSError(errno.EINVAL, "Invalid argument")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(direct, "_open_direct", opening)
    monkeypatch.setattr(os, "pwrite", refusing)
    write(path, content)
    assert path.read_bytes() == content
