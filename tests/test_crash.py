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

SHAPE = (2, 9, 5)
POSTERIOR = fake_posterior(SHAPE)
CHANCES = (0.0, 0.5, 1.0)
"""Of each step that was not synced, to be there; where steps are many, one will do."""


def recorded(folder: Path, end: str, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool) -> tuple[Recorder, int]:
    """A run with a commit after each slab; over an older file and an unfinished one, or not."""
    monkeypatch.setattr(writing, "COMMIT_SECONDS", 0)
    folder.mkdir()
    recorder = Recorder(folder)
    with recorder.recording(monkeypatch):
        if overwrite:
            path = folder / f"counts{end}"
            run(FakeStream(POSTERIOR, seed=1), path, cut(2, 2, 9, SHAPE))
            with pytest.raises(MemoryError):
                run(
                    FakeStream(POSTERIOR, fails_at=(1, MemoryError())),
                    path,
                    cut(2, 1, 4, SHAPE),
                    overwrite=True,
                )
        first = len(recorder.log)
        run(FakeStream(POSTERIOR), folder / f"counts{end}", cut(2, 1, 4, SHAPE), overwrite=overwrite)
    return recorder, first


@pytest.mark.parametrize(("end", "overwrite"), [*((end, False) for end in ENDS), (".npy", True), (".zarr", True)])
def test_any_crash_is_survived(end: str, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, first = recorded(tmp_path / "whole", end, monkeypatch, overwrite=overwrite)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the machine that runs this test does not crash
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(lock, "BREAK_SECONDS", 0)  # nor is anybody alive who has to notice
    stream, chance = FakeStream(POSTERIOR), random.Random(0)
    expected = contents(tmp_path / "whole")
    assert len(recorder.log) - first > 30
    for length in range(first, len(recorder.log) + 1):
        for probability in (0.5,) if overwrite or end == ".zarr" else CHANCES:
            state = crash(recorder, length, lambda p=probability: chance.random() < p)
            folder = tmp_path / "after"
            state.put_into(folder)
            path = folder / f"counts{end}"
            run(stream, path, cut(2, 1, 8, SHAPE), resume=True, overwrite=overwrite, break_lock=True)
            np.testing.assert_array_equal(read(path), stream.counts(), err_msg=f"after {length} steps")
            check(store_for(path).open(path), stream, path)  # type: ignore[arg-type]
            if compression(path) == "none":
                assert contents(folder) == expected, f"after {length} steps"
            remove(folder)
