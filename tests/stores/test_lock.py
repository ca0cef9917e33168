"""One writer an output, and no more waiting for the dead than there must be."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streamsample.errors import DiskRefused, OutputLocked
from streamsample.stores import lock as module
from streamsample.stores.lock import BREAK_SECONDS, OutputLock
from streamsample.stores.writing import _CHECK_SECONDS, COMMIT_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts.npy.partial.lock"


@pytest.fixture(autouse=True)
def break_seconds(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(module, "BREAK_SECONDS", 0.2)
    return 0.2


def held(path: Path, **changes: Any) -> None:
    """A lock of this process, but for some items."""
    path.write_text(json.dumps({**module._myself(), **changes}))


def dead_pid() -> int:
    """The number of a process that is no more."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def taken(path: Path, **options: Any) -> bool:
    lock = OutputLock(path, **options)
    try:
        lock.acquire()
    except OutputLocked:
        return False
    lock.check()
    lock.release()
    assert list(path.parent.iterdir()) == []
    return True


def test_names_its_holder_and_is_gone_afterwards(path: Path) -> None:
    lock = OutputLock(path)
    lock.acquire()
    holder = json.loads(path.read_text())
    assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
    assert holder["boot_id"]
    assert not taken(path)
    lock.release()
    assert taken(path)


def test_the_dead_of_this_system_are_no_obstacle(path: Path) -> None:
    held(path, pid=dead_pid())
    assert taken(path)
    held(path, started="1")  # this number belonged to another process before
    assert taken(path)


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"boot_id": "another"}, {"pid_namespace": "pid:[1]"}])
def test_nothing_is_known_of_the_dead_elsewhere(path: Path, changes: dict[str, str]) -> None:
    held(path, pid=dead_pid(), **changes)
    assert not taken(path)
    assert taken(path, breaks=True)


def test_a_machine_that_was_started_again_takes_over_from_its_former_self(path: Path) -> None:
    held(path, boot_id="another", pid=os.getpid())
    assert not taken(path)  # touched just now, so there are two machines of one name
    long_ago = time.time() - 7 * module.HEARTBEAT_SECONDS
    for changes in ({"host": "elsewhere"}, {"machine": "another"}, {"boot_id": None}):
        held(path, **{"boot_id": "another", **changes})
        os.utime(path, (long_ago, long_ago))
        assert not taken(path)
    held(path, boot_id="another", pid=os.getpid())
    os.utime(path, (long_ago, long_ago))
    assert taken(path)


def test_a_job_that_slurm_has_requeued_takes_over_from_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(path, host="elsewhere", job="77", restart=0)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert not taken(path)  # another task of the same job
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert taken(path)
    held(path, host="elsewhere", job="78", restart=0)
    assert not taken(path)


def test_a_lock_without_a_holder_is_waited_for_a_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EMPTY_SECONDS", 0.1)
    path.touch()
    assert taken(path)


def test_whose_lock_is_broken_notices(path: Path) -> None:
    first, second = OutputLock(path), OutputLock(path, breaks=True)
    first.acquire()
    second.acquire()
    with pytest.raises(OutputLocked, match=f"taken away by process {os.getpid()}"):
        first.check()
    first.release()  # which leaves the other's alone
    second.check()
    second.release()


def test_who_breaks_a_lock_waits_for_its_holder_unless_that_is_dead(path: Path, break_seconds: float) -> None:
    held(path, host="elsewhere")
    start = time.monotonic()
    assert taken(path, breaks=True)
    assert time.monotonic() - start >= break_seconds
    held(path, pid=dead_pid())
    start = time.monotonic()
    assert taken(path, breaks=True)
    assert time.monotonic() - start < break_seconds


def test_of_two_that_break_a_lock_the_second_has_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(path, host="elsewhere")
    second = OutputLock(path, breaks=True)
    waits = [lambda _: second.acquire(), lambda _: None]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: waits.pop(0)(seconds))
    with pytest.raises(OutputLocked, match="taken away"):
        OutputLock(path, breaks=True).acquire()
    second.check()
    second.release()


def test_a_lock_is_broken_for_longer_than_between_two_looks() -> None:
    assert BREAK_SECONDS > COMMIT_SECONDS > _CHECK_SECONDS


def test_a_lock_that_can_not_be_read_is_not_taken_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = OutputLock(path)
    lock.acquire()

    def fails(*_: Any, **__: Any) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fails)
        for asked in (lock.check, OutputLock(path).acquire, OutputLock(path, breaks=True).acquire):
            with pytest.raises(DiskRefused, match="can't be read: Input/output error") as error:
                asked()
            assert error.value.errno == errno.EIO
    lock.check()
    lock.release()
    assert not path.exists()


def test_a_heart_beats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    lock = OutputLock(path)
    lock.acquire()
    os.utime(path, (0, 0))
    for _ in range(500):
        if path.stat().st_mtime > 0:
            break
        lock._done.wait(0.01)
    assert path.stat().st_mtime > 0
    lock.release()
