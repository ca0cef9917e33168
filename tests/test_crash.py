"""After a crash at any moment, whatever the disk has kept of what was not synced, a resumed run gives the same file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from streamsample.stores import lock, store_for, writing
from streamsample.stores.places import remove
from streamsample.verifier import check
from tests.fake_stream import FakeStream, fake_posterior
from tests.outputs import ENDS, compression, read
from tests.recorder import Recorder, crash
from tests.test_run import contents, cut, run

SHAPE = (3, 5, 3)  # of .zarr two shards
POSTERIOR = fake_posterior(SHAPE)
CHANCES = (0.0, 0.5, 1.0)
"""Of each step that was not synced, to be there."""
FINE = cut(3, 1, 4, SHAPE)


def fails(sample: int) -> FakeStream:
    """The stream, on a machine that has no memory left by then."""
    return FakeStream(POSTERIOR, fails_at=(sample, MemoryError()))


def before(path: Path, story: str) -> None:
    """What happens before the run whose every step is tried."""
    if story == "overwrite":
        run(FakeStream(POSTERIOR, seed=1), path, cut(3, 3, 5, SHAPE))
        with pytest.raises(MemoryError):
            run(fails(1), path, FINE, overwrite=True)
    if story == "resume":
        with pytest.raises(MemoryError):
            run(fails(2), path, FINE)


def recorded(folder: Path, end: str, story: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, int]:
    """A run with a commit after each slab, and the step at which it begins."""
    monkeypatch.setattr(writing, "COMMIT_SECONDS", 0)
    folder.mkdir()
    recorder, path = Recorder(folder), folder / f"counts{end}"
    with recorder.recording(monkeypatch):
        before(path, story)
        first = len(recorder.log)
        run(FakeStream(POSTERIOR), path, FINE, overwrite=story == "overwrite", resume=story == "resume")
    return recorder, first


STORIES = ("new", "resume", "overwrite")


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("end", ENDS)
def test_any_crash_is_survived(end: str, story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`new`: where there is nothing; `resume`: after a run that has stopped; `overwrite`: over an older file, too."""
    recorder, first = recorded(tmp_path / "whole", end, story, monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the machine that runs this test does not crash
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(lock, "BREAK_SECONDS", 0)  # nor is anybody alive who has to notice
    stream, chance = FakeStream(POSTERIOR), random.Random(0)
    assert end != ".zarr" or len(list((tmp_path / "whole").rglob("c.*"))) > 1
    expected, seen = contents(tmp_path / "whole"), set()
    assert len(recorder.log) - first > (20 if story == "resume" else 30)
    for length in range(first, len(recorder.log) + 1):
        for probability in CHANCES:
            state = crash(recorder, length, lambda p=probability: chance.random() < p)
            if (key := state.key()) in seen:
                continue
            seen.add(key)
            folder = tmp_path / "after"
            state.put_into(folder)
            path = folder / f"counts{end}"
            run(stream, path, cut(3, 1, 8, SHAPE), resume=True, overwrite=story == "overwrite", break_lock=True)
            np.testing.assert_array_equal(read(path), stream.counts(), err_msg=f"after {length} steps")
            check(store_for(path).open(path), stream, path)  # type: ignore[arg-type]
            if compression(path) == "none":
                assert contents(folder) == expected, f"after {length} steps"
            remove(folder)
