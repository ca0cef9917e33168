"""Kill runs at random moments, resume them, and compare: ``python -m tests.killing FOLDER END KILLS SEED``."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamsample.stores import store_for, writing
from streamsample.stores.places import remove
from streamsample.verifier import check
from tests.fake_stream import FakeStream, fake_posterior
from tests.outputs import compression, read
from tests.test_run import contents, cut, run

SHAPE = (8, 40, 50)
CUTS = [cut(3, 1, 4, SHAPE), cut(8, 1, 12, SHAPE), cut(4, 2, 40, SHAPE)]


def start(path: Path, chance: random.Random, *, resume: bool) -> int:
    """Write a file in a process of its own; seconds between commits, slabs and threads are others each time."""
    plan, seconds = replace(chance.choice(CUTS), threads=chance.choice((1, 2, 4))), chance.choice((0.0, 0.0, 0.01))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            writing.COMMIT_SECONDS = seconds
            run(FakeStream(fake_posterior(SHAPE)), path, plan, resume=resume)
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """Wait for a process; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(path: Path, chance: random.Random, seconds: float, *, resume: bool) -> bool:
    """Start a run and kill it after a part of the time it takes; whether it was still alive."""
    pid = start(path, chance, resume=resume)
    time.sleep(chance.uniform(0, seconds))
    os.kill(pid, signal.SIGKILL)
    code = ended(pid)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def main(folder: Path, end: str, kills: int, seed: int) -> None:
    """Kill so many runs, and print how many were alive."""
    chance, stream, whole = random.Random(seed), FakeStream(fake_posterior(SHAPE)), folder / f"whole{end}"
    begun = time.monotonic()
    assert ended(start(whole, chance, resume=False)) == 0
    seconds = time.monotonic() - begun
    alive = 0
    while alive < kills:
        path = folder / f"counts{end}"
        alive += killed(path, chance, seconds, resume=chance.random() < 0.5)
        while alive < kills and chance.random() < 0.4:
            alive += killed(path, chance, seconds, resume=True)
        if path.exists():  # under its final name a file is complete, whatever happened
            np.testing.assert_array_equal(read(path), stream.counts())
        assert ended(start(path, chance, resume=True)) == 0
        np.testing.assert_array_equal(read(path), stream.counts())
        stored = store_for(path).open(path)
        stored.check_frame()
        assert check(stored, stream, path).counts_compared == np.prod(SHAPE)  # type: ignore[arg-type]
        if compression(path) == "none":
            assert contents(folder, "counts") == contents(folder, "whole")
        for file in folder.glob("counts*"):
            remove(file)
    print(alive)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
