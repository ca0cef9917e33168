"""Complete or absent, and unfinished to be continued: what becomes of names, whatever happens."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamsample.errors import CountOverflow, DiskRefused, Interrupted, OutputExists, OutputLocked, StoreError
from streamsample.geometry import Slab
from streamsample.stores import direct, lock
from streamsample.stores.base import Labels, Store, store_for
from streamsample.stores.disk import refusal
from streamsample.stores.journal import read_journal
from streamsample.stores.manifest import Manifest
from streamsample.stores.output import Output
from streamsample.stores.places import Places, remove
from streamsample.stores.writing import Writing
from tests.fake_stream import FakeStream, fake_posterior
from tests.outputs import ENDS, read, suited
from tests.stores.contract import contents
from tests.test_run import cut

ROOT = Path(__file__).parents[2]
STREAM = FakeStream(fake_posterior((3, 4, 5)))
MANIFEST = Manifest(0, STREAM.posterior.digest(), STREAM.selection, "uint16")
PLAN = cut(1, 1, 4, (3, 4, 5))
LABELS = Labels()
PASSES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTCONN, errno.ESHUTDOWN, errno.EREMOTEIO)
FINAL, PARTIAL = ["counts.npy", "counts.npy.json"], ["counts.npy.partial", "counts.npy.partial.journal"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts.npy"


@pytest.fixture
def store(path: Path) -> Store:
    return store_for(path)


def write(writing: Writing, *samples: int, value: int = 7) -> None:
    for s in samples:
        writing.write(Slab(s, s + 1, 0, 4), np.full((1, 4, 5), value, dtype=np.uint16))


def complete(output: Output, value: int = 7) -> None:
    writing = output.begin(MANIFEST, LABELS)
    write(writing, 0, 1, 2, value=value)
    output.commit(writing, MANIFEST, LABELS)


def fail(output: Output, error: BaseException, *samples: int) -> None:
    """Write something, and give up."""
    with output:
        write(output.begin(MANIFEST, LABELS), *samples)
        raise error


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_final_names_appear_on_commit_only(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        writing = output.begin(MANIFEST, LABELS)
        write(writing, 0, 1, 2)
        assert not path.exists()
        assert output.partial.exists()
        output.commit(writing, MANIFEST, LABELS)
    assert names(path.parent) == FINAL
    np.testing.assert_array_equal(np.load(path), 7)


def test_nothing_is_left_of_a_run_that_has_written_nothing(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError())
    assert names(path.parent) == []


def test_what_is_written_stays_after_an_error(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError(), 1)
    assert names(path.parent) == [*PARTIAL, "counts.npy.partial.json"]
    with Output(store, path, resume=True) as output:
        assert not output.is_complete(MANIFEST)
        writing = output.begin(MANIFEST, LABELS)
        assert [line.slab for line in writing.lines] == [Slab(1, 2, 0, 4)]
        write(writing, 0, 2, value=8)
        output.commit(writing, MANIFEST, LABELS)
    assert np.load(path)[:, 0, 0].tolist() == [8, 7, 8]


def test_an_overflow_would_come_again_so_nothing_is_kept(store: Store, path: Path) -> None:
    with pytest.raises(CountOverflow):
        fail(Output(store, path), CountOverflow("300 is above 255"), 0, 1)
    assert names(path.parent) == []


def test_existing_files_are_refused_and_kept(store: Store, path: Path) -> None:
    for taken in store.files(path):
        taken.write_text("old")
        with pytest.raises(OutputExists, match=f"{taken.name} exists; give overwrite=True"), Output(store, path):
            pass
        assert names(path.parent) == [taken.name]
        taken.unlink()


def test_an_unfinished_output_is_neither_replaced_nor_continued_unasked(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError(), 1)
    with pytest.raises(OutputExists, match=r"unfinished \(33.3% written\); give resume=True"), Output(store, path):
        pass
    with Output(store, path, overwrite=True) as output:
        assert not output.is_complete(MANIFEST)
        complete(output)
    assert names(path.parent) == FINAL


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_run_is_named_by_what_differs(store: Store, path: Path, overwrite: bool) -> None:
    other = replace(MANIFEST, seed=9)
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError(), 0)
    with Output(store, path, resume=True, overwrite=overwrite) as output:
        if overwrite:
            assert not output.is_complete(other)
            assert output.begin(other, LABELS).lines == []
        else:
            with pytest.raises(OutputExists, match="is of another run: seed is 0 there and 9 here"):
                output.is_complete(other)


def test_a_complete_output_is_known_again(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        complete(output)
    with Output(store, path, resume=True) as output:
        assert output.is_complete(MANIFEST)
        with pytest.raises(OutputExists, match="dtype is uint16 there and uint8 here"):
            output.is_complete(replace(MANIFEST, dtype="uint8"))
    assert names(path.parent) == FINAL


def test_old_output_survives_a_failed_overwrite(store: Store, path: Path) -> None:
    for old in store.files(path):
        old.write_text("old")
    with pytest.raises(RuntimeError):
        fail(Output(store, path, overwrite=True), RuntimeError(), 0)
    assert [file.read_text() for file in store.files(path)] == ["old", "old"]
    with Output(store, path, overwrite=True, resume=True) as output:
        assert not output.is_complete(MANIFEST)
        writing = output.begin(MANIFEST, LABELS)
        assert len(writing.lines) == 1
        write(writing, 1, 2)
        output.commit(writing, MANIFEST, LABELS)
    assert names(path.parent) == FINAL
    np.testing.assert_array_equal(np.load(path), 7)


def test_file_that_appears_meanwhile_is_kept_and_so_is_the_partial(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        writing = output.begin(MANIFEST, LABELS)
        write(writing, 0, 1, 2)
        path.write_text("somebody else's")
        with pytest.raises(OutputExists):
            output.commit(writing, MANIFEST, LABELS)
    assert path.read_text() == "somebody else's"
    assert names(path.parent) == ["counts.npy", *PARTIAL, "counts.npy.partial.json"]


def test_two_writers_of_one_output_are_refused(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        told = rf"being written by another process: {os.getpid()} on .* \(--break-lock\)"
        with pytest.raises(OutputLocked, match=told), Output(store, path):
            pass
        complete(output)
    assert names(path.parent) == FINAL


@pytest.mark.parametrize("end", ENDS)
def test_a_run_whose_lock_was_broken_writes_no_byte_more(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded chunks of both would go to the same end of a file."""
    monkeypatch.setattr(lock, "BREAK_SECONDS", 0)
    path = tmp_path / f"counts{end}"
    store, layout = store_for(path), suited(PLAN, path).layout
    manifest = replace(MANIFEST, layout=layout)
    with Output(store, path) as old:
        theirs = old.begin(manifest, LABELS)
        write(theirs, 0)
        theirs.flush()
        with Output(store, path, resume=True, break_lock=True) as new:
            assert not new.is_complete(manifest)
            ours = new.begin(manifest, LABELS)
            assert len(ours.lines) == 1
            write(ours, 1)
            ours.flush()
            before = contents(tmp_path)
            with pytest.raises(OutputLocked, match="taken away"):
                write(theirs, 2, value=8)
            assert contents(tmp_path) == before
            write(ours, 2)
            new.commit(ours, manifest, LABELS)
        with pytest.raises(StoreError, match="removed or replaced"):
            theirs.flush()
    np.testing.assert_array_equal(read(path), 7)


def test_a_slab_ends_after_a_piece_where_its_run_was_stopped(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "PIECE_NBYTES", 16)  # of 40 bytes
    pwrite, calls = os.pwrite, []

    def stopping(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(len(data))
        writing.stop()
        return pwrite(descriptor, data, offset)

    with Output(store, path) as output:
        writing = output.begin(MANIFEST, LABELS)
        monkeypatch.setattr(os, "pwrite", stopping)
        for s in (1, 2):
            with pytest.raises(Interrupted, match="was stopped"):
                write(writing, s)
    assert calls == [16]


def test_files_and_lock_stay_with_a_thread_that_writes(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        writing = output.begin(MANIFEST, LABELS)
        write(writing, 0)
        writing.flush()
        writing._busy.acquire()  # as a thread does that hangs in a write
    writing._busy.release()
    assert names(path.parent) == [*PARTIAL, "counts.npy.partial.json", "counts.npy.partial.lock"]
    write(writing, 1)  # its descriptors are its own still
    assert writing.close()
    output._lock.release()


@pytest.mark.parametrize("stop", ["writing.flush()", "output.commit(writing, MANIFEST, LABELS)", "pass"])
def test_output_of_a_killed_process_is_taken_over(store: Store, path: Path, stop: str) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from tests.stores.test_output import *\n"
        "path = Path(sys.argv[1])\n"
        "with Output(store_for(path), path) as output:\n"
        "    writing = output.begin(MANIFEST, LABELS); write(writing, 0, 1, 2)\n"
        f"    {stop}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=ROOT)
    assert "counts.npy.partial.lock" in names(path.parent)
    with Output(store, path, resume=True) as output:
        if not output.is_complete(MANIFEST):
            writing = output.begin(MANIFEST, LABELS)
            assert len(writing.lines) == (0 if stop == "pass" else 3)
            write(writing, *([0, 1, 2] if stop == "pass" else []))
            output.commit(writing, MANIFEST, LABELS)
    assert names(path.parent) == FINAL
    np.testing.assert_array_equal(np.load(path), 7)


def test_a_journal_without_its_output_is_told(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError(), 1)
    path.with_name("counts.npy.partial").unlink()
    with Output(store, path, resume=True) as output:
        assert not output.is_complete(MANIFEST)
        with pytest.raises(StoreError, match=r"counts\.npy\.partial is not; give overwrite=True"):
            output.begin(MANIFEST, LABELS)
    with Output(store, path, overwrite=True, resume=True) as output:
        assert not output.is_complete(MANIFEST)
        complete(output)
    assert names(path.parent) == FINAL


@pytest.mark.parametrize("left", [[], ["counts.npy"], ["counts.npy.json"]])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_finished_output_whose_files_are_gone_is_not_complete(
    store: Store, path: Path, left: list[str], renamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, Output(store, path) as output:
        patch.setattr(Places, "rename", lambda _: None)  # killed just before it
        complete(output)
    for name, partial in zip(FINAL, ["counts.npy.partial", "counts.npy.partial.json"], strict=True):
        (path.parent / partial).rename(path.parent / (name if renamed else partial))
        if name not in left:
            (path.parent / (name if renamed else partial)).unlink()
    told = r"says that all is written, but .*counts\.npy.* is gone; give overwrite"
    with pytest.raises(StoreError, match=told), Output(store, path, resume=True) as output:
        output.is_complete(MANIFEST)
    with Output(store, path, resume=True, overwrite=True) as output:
        assert not output.is_complete(MANIFEST)
        complete(output)
    assert names(path.parent) == FINAL


def test_a_finished_output_is_not_taken_for_an_older_one_of_its_name(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Output(store, path) as output:
        complete(output)
    other = replace(MANIFEST, seed=9)
    with monkeypatch.context() as patch, Output(store, path, overwrite=True) as output:
        patch.setattr(Places, "rename", lambda _: None)
        writing = output.begin(other, LABELS)
        write(writing, 0, 1, 2, value=8)
        output.commit(writing, other, LABELS)
    for name in PARTIAL[0], "counts.npy.partial.json":
        (path.parent / name).unlink()
    with Output(store, path, resume=True, overwrite=True) as output:
        assert not output.is_complete(other)
        writing = output.begin(other, LABELS)
        assert writing.lines == []
        write(writing, 0, 1, 2, value=8)
        output.commit(writing, other, LABELS)
    np.testing.assert_array_equal(np.load(path), 8)


@pytest.mark.parametrize("end", ENDS)
def test_a_damaged_unfinished_output_is_replaced_where_it_may_be(end: str, tmp_path: Path) -> None:
    path = tmp_path / f"counts{end}"
    store, manifest = store_for(path), replace(MANIFEST, layout=suited(PLAN, path).layout)
    with Output(store, path) as output:
        writing = output.begin(manifest, LABELS)
        write(writing, 0)
        writing.flush()
    partial = path.with_name(path.name + ".partial")
    for file in [partial] if partial.is_file() else partial.glob("counts/c.*"):
        os.truncate(file, 1)
    with Output(store, path, resume=True) as output:
        assert not output.is_complete(manifest)
        with pytest.raises(StoreError, match="can't be continued; give overwrite=True"):
            output.begin(manifest, LABELS)
    with Output(store, path, resume=True, overwrite=True) as output:
        assert not output.is_complete(manifest)
        writing = output.begin(manifest, LABELS)
        write(writing, 0, 1, 2)
        output.commit(writing, manifest, LABELS)
    np.testing.assert_array_equal(read(path), 7)


def test_an_unfinished_output_beside_one_of_another_run_is_named(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        complete(output)
    other = replace(MANIFEST, seed=9)
    with Output(store, path, overwrite=True) as output:
        writing = output.begin(other, LABELS)
        write(writing, 0)
        writing.flush()
    with Output(store, path, resume=True) as output:
        told = r"seed is 0 there and 9 here; beside it is .* of this run \(33\.3% written\): give resume=True and over"
        with pytest.raises(OutputExists, match=told):
            output.is_complete(other)
    assert names(path.parent) == [*FINAL, *PARTIAL, "counts.npy.partial.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("number", "resumable"), [*((number, True) for number in PASSES), (errno.EACCES, False)])
def test_only_what_may_pass_is_worth_another_try(
    store: Store, path: Path, number: int, resumable: bool, overwrite: bool
) -> None:
    def refused() -> None:
        with Output(store, path, overwrite=overwrite) as output:
            writing = output.begin(MANIFEST, LABELS)
            write(writing, 0)
            writing.flush()
            write(writing, 1)  # of which nobody knows whether it is on the disk
            raise refusal(path, OSError(number, os.strerror(number)))

    with pytest.raises(Interrupted if resumable else DiskRefused, match=os.strerror(number)) as error:
        refused()
    if resumable:
        assert str(error.value).endswith(
            "(--resume --overwrite)" if overwrite else "continue with resume=True (--resume)"
        )
    record = read_journal(path.with_name("counts.npy.partial.journal"))
    assert record is not None
    assert [line.slab for line in record.lines] == [Slab(0, 1, 0, 4)]


def test_a_disk_that_is_still_full_when_a_run_is_resumed_can_be_tried_again(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not even take the lock."""
    open_file = os.open

    def full(file: Path, *options: int) -> int:
        if Path(file).name.endswith(".lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_file(file, *options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(DiskRefused, match=r"lock can't be made: No space left"), Output(store, path, resume=True):
            pass
    with pytest.raises(RuntimeError):
        fail(Output(store, path), RuntimeError(), 0)
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(Interrupted, match=r"No space left.*continue with resume"), Output(store, path, resume=True):
        pass
    assert names(path.parent) == [*PARTIAL, "counts.npy.partial.json"]


@pytest.mark.parametrize("end", ENDS)
def test_folder_removed_while_writing_is_one_line(end: str, tmp_path: Path) -> None:
    path = tmp_path / "inner" / f"counts{end}"
    path.parent.mkdir()
    store, manifest = store_for(path), replace(MANIFEST, layout=suited(PLAN, path).layout)
    with Output(store, path) as output:
        writing = output.begin(manifest, LABELS)
        write(writing, 0)
        remove(path.parent)
        for asked in (writing.flush, lambda: write(writing, 1), lambda: output.commit(writing, manifest, LABELS)):
            with pytest.raises(StoreError, match="was removed or replaced while it was written") as error:
                asked()
            assert "\n" not in str(error.value)
    assert names(tmp_path) == []


def test_folder_in_the_way_is_refused(store: Store, path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="is a folder"), Output(store, path, overwrite=True):
        pass


def test_place_that_takes_no_files_is_one_line(store: Store) -> None:
    with pytest.raises(StoreError, match="can't be made") as error, Output(store, Path("/proc/self/counts.npy")):
        pass
    assert "\n" not in str(error.value)


def test_manifest_never_stands_beside_counts_of_another_run(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for old in store.files(path):
        old.write_text("old")
    seen = []
    rename = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append({file.name: file.read_bytes() == b"old" for file in store.files(path) if file.exists()})
        rename(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with Output(store, path, overwrite=True) as output:
        complete(output)
    assert seen == [{"counts.npy": True}, {"counts.npy": False}]
