"""Complete or absent: what becomes of names, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamsample.errors import OutputExists, StoreError
from streamsample.stores.base import Store, store_for
from streamsample.stores.output import Output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts.npy"


@pytest.fixture
def store(path: Path) -> Store:
    return store_for(path)


def fill(output: Output, text: str) -> None:
    output.partial.write_text(text)
    output.partial.with_name(output.partial.name + ".json").write_text(text)


def fail(output: Output) -> None:
    """Write something, and give up."""
    with output:
        fill(output, "new")
        raise RuntimeError


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_final_names_appear_on_commit_only(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        fill(output, "new")
        assert names(path.parent) == ["counts.npy.partial", "counts.npy.partial.json"]
        output.commit()
    assert names(path.parent) == ["counts.npy", "counts.npy.json"]
    assert path.read_text() == "new"


def test_nothing_is_left_after_an_error(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(Output(store, path))
    assert names(path.parent) == []


def test_existing_files_are_refused_and_kept(store: Store, path: Path) -> None:
    for taken in store.files(path):
        taken.write_text("old")
        with pytest.raises(OutputExists, match=f"{taken.name} exists; give overwrite=True"), Output(store, path):
            pass
        assert names(path.parent) == [taken.name]
        taken.unlink()


def test_old_output_survives_a_failed_overwrite(store: Store, path: Path) -> None:
    for old in store.files(path):
        old.write_text("old")
    with pytest.raises(RuntimeError):
        fail(Output(store, path, overwrite=True))
    assert [file.read_text() for file in store.files(path)] == ["old", "old"]
    with Output(store, path, overwrite=True) as output:
        fill(output, "new")
        output.commit()
    assert [file.read_text() for file in store.files(path)] == ["new", "new"]
    assert names(path.parent) == ["counts.npy", "counts.npy.json"]


def test_file_that_appears_meanwhile_is_kept(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        fill(output, "new")
        path.write_text("somebody else's")
        with pytest.raises(OutputExists):
            output.commit()
    assert path.read_text() == "somebody else's"
    assert names(path.parent) == ["counts.npy"]


def test_two_writers_of_one_output_are_refused(store: Store, path: Path) -> None:
    with Output(store, path) as output:
        fill(output, "new")
        with pytest.raises(StoreError, match="being written by another process"), Output(store, path):
            pass
        assert output.partial.read_text() == "new"


def test_partial_of_a_killed_process_is_taken_over(store: Store, path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from streamsample.stores.base import store_for; from streamsample.stores.output import Output\n"
        "path = Path(sys.argv[1])\n"
        "with Output(store_for(path), path) as output: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert names(path.parent) == ["counts.npy.partial"]
    with Output(store, path) as output:
        fill(output, "new")
        output.commit()
    assert names(path.parent) == ["counts.npy", "counts.npy.json"]


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
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append({file.name: file.read_text() for file in store.files(path) if file.exists()})
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with Output(store, path, overwrite=True) as output:
        fill(output, "new")
        output.commit()
    assert seen == [{"counts.npy": "old"}, {"counts.npy": "new"}]
