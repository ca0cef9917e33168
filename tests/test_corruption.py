"""One changed byte anywhere: found, or without any effect; never a traceback, never a wrong count accepted."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from streamsample.errors import StreamsampleError
from streamsample.stores import describe, describe_unfinished, store_for
from streamsample.verifier import _check_identity, check
from tests.fake_stream import FakeStream, fake_posterior
from tests.outputs import ENDS, compression, read
from tests.test_run import cut, run

SHAPE = (4, 21, 10)
STREAM = FakeStream(fake_posterior(SHAPE), seed=2**63 + 5)
PLAN = cut(2, 1, 8, SHAPE)
CHANGES = 30
"""Of each finished output and each unfinished one: 300 together."""


def damaged(files: list[Path], chance: random.Random) -> str:
    """Change one byte of one of some files, and say which; small files are as likely as large ones."""
    file = chance.choice(files)
    data = bytearray(file.read_bytes())
    at = chance.randrange(len(data))
    data[at] ^= chance.randrange(1, 256)
    file.write_bytes(data)
    return f"byte {at} of {file.name}"


def inside(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def check_told(error: StreamsampleError) -> None:
    """What is wrong is told in one line."""
    assert "\n" not in str(error)


def verified(path: Path) -> bool:
    """What `verify --full` does; whether it found nothing."""
    try:
        stored = store_for(path).open(path)
        stored.check_frame()
        _check_identity(stored.manifest, STREAM.posterior, path)
        check(stored, STREAM, path)  # type: ignore[arg-type]
    except StreamsampleError as error:
        check_told(error)
        return False
    return True


@pytest.mark.parametrize("end", ENDS)
def test_one_changed_byte_of_a_finished_output(end: str, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    run(STREAM, tmp_path / "good" / f"counts{end}", PLAN)
    chance = random.Random(ENDS.index(end))
    folder = tmp_path / "bad"
    for _ in range(CHANGES):
        shutil.copytree(tmp_path / "good", folder)
        path = folder / f"counts{end}"
        what = damaged(inside(folder), chance)
        if compression(path) == "none":
            assert not verified(path), what
        else:  # what pads a chunk at the ends of the axes is no count
            assert not verified(path) or np.array_equal(read(path), STREAM.counts()), what
        try:
            describe(path)
        except StreamsampleError as error:
            check_told(error)
        shutil.rmtree(folder)


@pytest.mark.parametrize("end", ENDS)
def test_one_changed_byte_of_an_unfinished_output(end: str, tmp_path: Path) -> None:
    good, folder = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    with pytest.raises(MemoryError):
        run(FakeStream(STREAM.posterior, STREAM.seed, fails_at=(3, MemoryError())), good / f"counts{end}", PLAN)
    chance = random.Random(ENDS.index(end))
    for _ in range(CHANGES):
        shutil.copytree(good, folder)
        path = folder / f"counts{end}"
        what = damaged(inside(folder), chance)
        try:
            describe_unfinished(path)
            run(STREAM, path, PLAN, resume=True)
        except StreamsampleError as error:
            check_told(error)
        else:
            # The journal has the checksums of counts that were damaged before it was continued.
            assert not verified(path) or np.array_equal(read(path), STREAM.counts()), what
        shutil.rmtree(folder)
