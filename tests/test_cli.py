"""The command line: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from streamsample import twin
from streamsample.cli import app
from streamsample.cli.common import command, one_line
from streamsample.cli.progress import Bar
from streamsample.errors import CountOverflow, PlanError
from streamsample.posterior import Posterior
from streamsample.stopping import Stopper
from streamsample.stores.checksums import checksum
from streamsample.stream import CountStream
from streamsample.target import STORES
from tests.mounts import tmpfs

COMMANDS = ("demo", "fit", "import", "budget", "plan", "sample", "virtual", "info", "ppc", "verify", "export")
S, N, T = 6, 20, 5  # of the small posterior


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ran(*arguments: str | Path) -> Result:
    """Run what must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str | Path, code: int = 1) -> str:
    """Run what must fail with one line, and return that line."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture
def posterior(small_posterior: Posterior, tmp_path: Path) -> Path:
    path = tmp_path / "posterior.h5"
    small_posterior.save(path)
    return path


@pytest.fixture
def counts(posterior: Path, tmp_path: Path) -> Path:
    path = tmp_path / "counts.h5"
    ran("sample", posterior, "-o", path, "-q")
    return path


@pytest.fixture
def counts_h5ad(small_posterior: Posterior, tmp_path: Path) -> Path:
    """The cells of the small posterior with counts of its first sample, in another order, and some more genes."""
    drawn = np.asarray(CountStream(small_posterior, seed=1)[0, :, :])
    cells, features = small_posterior.cells, small_posterior.facts.feature_names
    assert cells.names is not None
    assert features is not None
    groups = np.array(["rep_1", "rep_2"])[cells.group]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(np.hstack([drawn, rng.poisson(2.0, (N, 2))]), cells.names, [*features, "MYC", "TP53"])
    table = table.loc[rng.permutation(cells.names), [*reversed(table.columns)]]
    obs = pd.DataFrame({"bio_rep": pd.Categorical(pd.Series(groups, cells.names).loc[table.index])}, table.index)
    path = tmp_path / "observed.h5ad"
    var = pd.DataFrame(index=table.columns)
    anndata.AnnData(table.to_numpy(dtype=np.float32), obs=obs, var=var).write_h5ad(path)
    return path


# -- help and usage


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_on_its_own_line(name: str) -> None:
    lines = ran(name, "--help").output.splitlines()
    example = lines.index("  Example:")
    assert lines[example + 1].startswith(f"    streamsample {name}")
    for option in ("--quiet", "--verbose", "--debug"):
        assert any(option in line for line in lines[example:])


def test_help_loads_nothing_heavy() -> None:
    code = "import streamsample.cli.root, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"typer"} <= set(loaded)
    assert set(loaded).isdisjoint({"numpy", "numba", "torch", "h5py", "anndata", "matplotlib", "scipy", "pandas"})


def test_the_module_runs_as_the_command_does() -> None:
    ended = subprocess.run([sys.executable, "-m", "streamsample", "--version"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "streamsample 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "No such command"),
        (["plan"], "give either POSTERIOR.h5 or --shape S,N,T"),
        (["plan", "--shape", "10,20"], "'10,20' is not a shape"),
        (["plan", "--shape", "10,0,3"], "'10,0,3' is not a shape"),
        (["budget", "--memory", "12Q"], "'12Q' is not a size"),
        (["budget", "--memory", "10"], "10 is 10 bytes; if the unit is missing, write for example 10G"),
        (["sample", "p.h5", "-o", "c.h5", "--layer", "counts"], "--layer says how to read the file of --for-cells"),
        (["verify", "c.h5", "--posterior", "p.h5", "--group-key", "rep"], "--group-key says how to read"),
        (["plan", "p.h5", "--sum-factor-key", "depth"], "--sum-factor-key says how to read"),
        (["plan", "--shape", "1,2,3", "--safety-factor", "1.5"], "1.5 is not above 0 and at most 1"),
        (["plan", "--shape", "1,2,3", "--dtype", "float32"], "--dtype"),
        (["sample", "posterior.h5"], "--output"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


# -- how commands end


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "error: ValueError: first second (--debug prints the traceback)"),
        (KeyboardInterrupt(), "error: interrupted; the same command starts again"),
    ],
)
def test_whatever_goes_wrong_is_told_in_one_line(error: BaseException, line: str) -> None:
    def failing() -> None:
        raise error

    small = typer.Typer(pretty_exceptions_enable=False)
    small.command()(command(failing))
    result = CliRunner().invoke(small, [])
    assert (result.exit_code, result.stderr) == (1, f"{line}\n")
    told = CliRunner().invoke(small, ["--debug"]).stderr
    assert told.count("Traceback (most recent call last)") == 1
    assert "error: " not in told


@pytest.mark.parametrize("module", ["streamsample.cli.root", "streamsample.cli.fit"])
def test_ctrl_c_while_commands_are_imported_is_one_line(module: str) -> None:
    code = f"""
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from streamsample.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "error: interrupted\n")


def test_a_command_that_writes_nothing_has_nothing_unfinished() -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    small = typer.Typer(pretty_exceptions_enable=False)
    small.command()(command(stopped, reports=True))
    assert CliRunner().invoke(small, []).stderr == "error: interrupted\n"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("X holds no counts; counts are in 'raw': give layer='raw'", "give --layer 'raw'"),
        ("a.h5ad has no X; give layer= one of those there: raw", "give --layer one of those there: raw"),
        ("NaN at step 3 with lr=5; give a smaller lr, such as 1", "with --lr 5; give a smaller --lr, such as 1"),
        ("or leave out features with very few counts (features=...)", "or leave out features with very few counts"),
        ("x.npy exists; give overwrite=True (--overwrite) to replace it", "exists; give --overwrite to replace it"),
        ("give resume=True and overwrite=True (--resume --overwrite) to go on", "give --resume --overwrite to go on"),
        ("the posterior has 2 groups; give group_key", "give --group-key"),
        ("where='layer == 1 and seed==3': no such column", "--where 'layer == 1 and seed==3': no such column"),
    ],
)
def test_errors_name_options_and_not_python_arguments(told: str, expected: str) -> None:
    assert one_line(PlanError(told)).endswith(expected)


def test_an_overflow_names_the_type_that_holds_all() -> None:
    assert one_line(CountOverflow("300 is above 255")) == "300 is above 255; give --dtype auto"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_ends_with_75_and_resume_goes_on(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    large = Posterior.from_arrays(
        mu=rng.gamma(1.0, 50.0, (40, 1000)), phi=rng.gamma(5.0, 1.0, (40, 1000)), n_cells=20_000
    )
    large.save(tmp_path / "posterior.h5")
    arguments = ["sample", "posterior.h5", "-o", "counts.npy", "--memory", "2G", "--threads", "1"]
    argv = [sys.executable, "-m", "streamsample", *arguments]
    # A background job inherits SIGINT as ignored, and then it stays so.
    allow = "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    argv = [sys.executable, "-c", f"{allow}import os; os.execv(sys.argv[1], sys.argv[1:])", *argv]
    process = subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        while _journalled(tmp_path / "counts.npy.partial.journal") < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75, told
    line = told.splitlines()[-1]
    assert line.startswith(f"error: counts.npy: stopped by {name}; ")
    assert line.endswith("% of the counts are safely written: give --resume")
    assert "counts.npy.partial.lock" not in {path.name for path in tmp_path.iterdir()}
    facts = json.loads(ran("info", tmp_path / "counts.npy", "--json").stdout)
    assert 0 < facts["written"] < 1
    assert (facts["complete"], facts["shape"]) == (False, [40, 20_000, 1000])
    (tmp_path / "counts.npy.partial").unlink()  # 1.6 GB


SLOW = """
import os, sys, time
from pathlib import Path
from streamsample.cli import main
from streamsample.stores import direct, writing

pwrite, journal = os.pwrite, Path("counts.npy.partial.journal")

def slow(descriptor, data, offset):
    if journal.exists() and journal.read_bytes().count(b"\\n") > 1:
        print("slow", flush=True)
        time.sleep(0.05)
    return pwrite(descriptor, data, offset)

os.pwrite, direct.PIECE_NBYTES, writing.COMMIT_SECONDS = slow, 4096, 0
main()
"""
"""The command, on a disk that takes 4 KiB in 50 ms once the first slab is safe."""


def test_a_second_ctrl_c_waits_for_no_slab_and_ends_with_75_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Posterior.from_arrays(mu=rng.gamma(1.0, 50.0, (6, 500)), phi=rng.gamma(5.0, 1.0, (6, 500)), n_cells=2000).save(
        tmp_path / "posterior.h5"
    )
    arguments = ["sample", "posterior.h5", "-o", "counts.npy", "--minibatch-size", "1", "--dtype", "uint16"]
    allow = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    argv = [sys.executable, "-c", allow + SLOW, *arguments]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "slow\n":
            assert line, process.communicate()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        _, told = process.communicate(timeout=10)  # a slab takes 24 s
    finally:
        process.kill()
    assert process.returncode == 75, told
    assert told.splitlines()[-1] == "error: counts.npy: interrupted; give --resume to continue"
    left = {path.name for path in tmp_path.iterdir()}
    assert "counts.npy.partial.journal" in left
    assert "counts.npy.partial.lock" not in left
    ran("sample", tmp_path / "posterior.h5", "-o", tmp_path / "counts.npy", "--dtype", "uint16", "--resume")
    ran("verify", tmp_path / "counts.npy", "--posterior", tmp_path / "posterior.h5", "--full")


def _journalled(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_resume_starts_and_ends_with_0_once_complete(posterior: Path, tmp_path: Path) -> None:
    output = tmp_path / "counts.npy"
    ran("sample", posterior, "-o", output, "--resume")
    before = output.stat()
    told = ran("sample", posterior, "-o", output, "--resume")
    assert "is complete already" in told.stderr
    assert (output.stat().st_mtime_ns, output.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    line = refused("sample", posterior, "-o", output, "--resume", "--seed", "3")
    assert "is of another run: seed is 0 there and 3 here; give --overwrite to replace it" in line


def test_an_overwrite_that_is_stopped_says_how_it_is_continued(
    posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "counts.npy"
    ran("sample", posterior, "-o", output, "--seed", "1")
    monkeypatch.setattr("streamsample.stores.writing.COMMIT_SECONDS", 0)
    seen: list[str | None] = [None, None, "SIGTERM"]
    monkeypatch.setattr(Stopper, "reason", lambda *_: seen.pop(0))
    options = ["sample", posterior, "-o", output, "--minibatch-size", "1"]
    line = refused(*options, "--overwrite", code=75)
    assert line.endswith("33.3% of the counts are safely written: give --resume --overwrite")
    monkeypatch.undo()
    line = refused(*options, "--resume")
    assert "give --resume --overwrite to finish that and replace this" in line
    told = ran(*options, "--resume", "--overwrite", "-v").stderr
    assert "continuing: 33.3%" in told
    ran("verify", output, "--posterior", posterior, "--full")


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
@pytest.mark.parametrize("what", ["journal", "file"])
def test_what_can_not_be_read_is_replaced_where_it_may_be(
    posterior: Path, tmp_path: Path, suffix: str, what: str
) -> None:
    output = tmp_path / f"counts{suffix}"
    if what == "file":
        (output / "counts").mkdir(parents=True) if suffix == ".zarr" else output.write_text("somebody's")
    else:
        line = b'{"samples":[0,1],"cells":[0,4],"crc32c":["00000000"]}'
        output.with_name(output.name + ".partial.journal").write_bytes(b"?\n" + line + b" %08x\n" % checksum(line))
    assert "give --overwrite" in refused("sample", posterior, "-o", output, "--resume")
    ran("sample", posterior, "-o", output, "--resume", "--overwrite")
    ran("verify", output, "--posterior", posterior, "--full")
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "posterior.h5"]


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".zarr"])
def test_a_disk_that_fills_up_ends_with_75_until_there_is_room(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    posterior = tmp_path / "posterior.h5"
    Posterior.from_arrays(mu=rng.gamma(1.0, 50.0, (6, 500)), phi=rng.gamma(5.0, 1.0, (6, 500)), n_cells=200).save(
        posterior
    )
    monkeypatch.setattr("streamsample.stores.writing.COMMIT_SECONDS", 0)
    monkeypatch.setattr("streamsample.stores.raw._reserve", lambda *_: None)  # as where nothing is reserved
    with tmpfs(tmp_path / "small", nbytes=3_000_000) as folder:
        output, other = folder / f"counts{suffix}", folder / "somebody else's"
        arguments = ["sample", posterior, "-o", output, "--minibatch-size", "1", "--resume"]
        bar = Bar.update

        def fill_up(*event: Any) -> None:
            bar(*event)
            if not other.exists():
                other.write_bytes(bytes(os.statvfs(folder).f_bavail * 4096 - 40_960))

        monkeypatch.setattr(Bar, "update", fill_up)
        for _ in range(2):  # the second time it is full from the beginning
            line = refused(*arguments, code=75)
            assert "what is written is safe: continue with --resume" in line
        other.unlink()
        monkeypatch.setattr(Bar, "update", bar)
        ran(*arguments)
        ran("verify", output, "--posterior", posterior, "--full")


def test_a_locked_output_is_refused_until_the_lock_is_broken(
    posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamsample.stores.lock.BREAK_SECONDS", 0)
    output = tmp_path / "counts.npy"
    (tmp_path / "counts.npy.partial.lock").write_text('{"pid": 17, "host": "elsewhere"}')
    line = refused("sample", posterior, "-o", output)
    assert "being written by another process: 17 on elsewhere" in line
    assert "give --break-lock" in line
    ran("sample", posterior, "-o", output, "--break-lock")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.npy", "counts.npy.json", "posterior.h5"]


# -- budget and plan


def test_budget_as_json_has_the_fixed_keys() -> None:
    facts = json.loads(ran("budget", "--json", "--memory", "64G").stdout)
    assert facts["nbytes"] == 64 * 2**30
    assert facts["tightest"] == "--memory"
    assert facts["cpus"] >= 1
    assert {"name", "says", "nbytes", "cpus"} <= set(facts["sources"][0])


def test_memory_is_binary_or_decimal() -> None:
    assert json.loads(ran("budget", "--json", "--memory", "64GB").stdout)["nbytes"] == 64 * 10**9


def test_budget_prints_every_source() -> None:
    facts = json.loads(ran("budget", "--json").stdout)
    printed = ran("budget").stdout
    assert all(source["name"] in printed for source in facts["sources"])


def test_plan_of_a_shape_prints_the_published_estimate_and_then_the_plan() -> None:
    arguments = ["plan", "--shape", "1000,21761,28868", "--groups", "2", "--memory", "508800M"]
    result = ran(*arguments)
    told = result.stderr.splitlines()
    assert told[0] == "[INFO] For comparison, a Predictive that keeps all counts in memory:"
    for line in (
        "[MEMORY] Max samples that fit: 147",
        "[MEMORY] Auto-setting minibatch_size=100 (capped at 100)",
        "[MEMORY] This will require 10 batches",
        "[MEMORY] Estimated memory per batch: 236.4 GiB",
    ):
        assert line in told
    assert "predicted peak" in result.stdout
    assert "[MEMORY]" not in result.stdout
    quiet = ran(*arguments, "-q")
    assert (quiet.stdout, quiet.stderr) == (result.stdout, "")


def test_plan_of_a_shape_is_there_in_a_second_and_ends_with_the_ways_to_keep_the_result() -> None:
    """Without any posterior; in a process of its own, the start of which counts."""
    argv = ["plan", "--shape", "1000,21761,31467", "--groups", "2", "--memory", "508800M"]
    seconds = []
    for _ in range(3):  # the machine may be busy with something else
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "streamsample", *argv], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 1.0, seconds
    head, *ways = done.stdout.splitlines()[-5:]
    assert head.split() == ["size", "files", "to", "write", "one", "gene", "how"]
    for way, name in zip(ways, ("raw", "compressed", "virtual", "summary only"), strict=True):
        assert re.fullmatch(rf"  {name} +[0-9.]+ [KMGT]iB +[0-9,]+ +\d.* +\d.*  \S.*", way), way
    assert "[MEMORY] Auto-setting minibatch_size=100 (capped at 100)" in done.stderr


def test_without_psutil_the_estimate_of_what_is_detected_is_the_cautious_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    arguments = ["plan", "--shape", "1000,2176,2886"]
    told = ran(*arguments).stderr
    assert "(minibatch_size=50, parallel=False); pip install psutil\n" in told
    assert "[MEMORY]" not in told
    estimate = json.loads(ran(*arguments, "--json").stdout)["predictive"]
    assert (estimate["minibatch_size"], estimate["use_parallel"], estimate["basis"]) == (50, False, "no psutil")
    assert "psutil" not in ran(*arguments, "--memory", "64G").stderr


@pytest.mark.parametrize("command", ["fit", "demo"])
def test_limits_are_read_after_torch_has_taken_its_address_space(command: str, tmp_path: Path) -> None:
    """Some 500 MiB of RLIMIT_AS."""
    code = (
        "import sys\nfrom streamsample.budget import Budget\nfrom streamsample.cli import main\n"
        "Budget.detect = lambda **_: sys.exit(3 if 'torch' in sys.modules else 4)\nmain()"
    )
    options = {"fit": ["any.h5ad", "-o", "posterior.h5", "--group-key", "k"], "demo": []}[command]
    argv = [sys.executable, "-c", code, command, *options]
    (tmp_path / "any.h5ad").touch()
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=60, check=False).returncode == 3


@pytest.mark.parametrize("given", ["shape", "posterior"])
def test_a_plan_that_the_disk_has_no_room_for_is_shown_all_the_same(
    posterior: Path, tmp_path: Path, given: str
) -> None:
    with tmpfs(tmp_path / "small", nbytes=4096) as folder:
        what = ["--shape", "6,2000,5"] if given == "shape" else [posterior, "--dtype", "uint32", "--cells", ":"]
        if given == "posterior":
            (folder / "filler").write_bytes(bytes(4096))
        result = run("plan", *what, "-o", folder / "counts.h5")
        assert result.exit_code == 1
        assert "predicted peak" in result.stdout
        (line,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
        assert "are free on its disk (tmpfs)" in line


def test_a_plan_without_a_target_names_no_file_system() -> None:
    assert "counts.h5 on any disk" in ran("plan", "--shape", "10,20,30").stdout


def test_plan_as_json() -> None:
    facts = json.loads(
        ran("plan", "--shape", "1000,21761,28868", "--groups", "2", "--memory", "508800M", "--json").stdout
    )
    assert facts["predictive"]["minibatch_size"] == 100
    assert facts["plan"]["shape"] == [1000, 21761, 28868]
    assert facts["plan"]["peak_nbytes"] <= facts["plan"]["allowed_nbytes"]


def test_plan_of_a_posterior_writes_nothing(posterior: Path, tmp_path: Path) -> None:
    printed = ran("plan", posterior, "-o", tmp_path / "counts.h5", "--samples", "0:3", "--cells", "::2").stdout
    assert "3 samples x 10 cells x 5 features" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["posterior.h5"]


def test_a_budget_too_small_for_a_slab(posterior: Path, tmp_path: Path) -> None:
    line = refused("sample", posterior, "-o", tmp_path / "counts.h5", "--memory", "20M", "--safety-factor", "1")
    assert "20.0 MiB are allowed (--memory, safety 1)" in line
    assert [path.name for path in tmp_path.iterdir()] == ["posterior.h5"]


# -- sample


@pytest.mark.parametrize("suffix", [".h5", ".npy"])
def test_sample_writes_the_stream(small_posterior: Posterior, posterior: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"counts{suffix}"
    ran("sample", posterior, "-o", output, "--seed", "7")
    stored = np.load(output) if suffix == ".npy" else h5py.File(output)["counts"][:]
    np.testing.assert_array_equal(stored, CountStream(small_posterior, seed=7)[:, :, :])


def test_sample_writes_a_selection(small_posterior: Posterior, posterior: Path, tmp_path: Path) -> None:
    output = tmp_path / "counts.npy"
    options = ["--samples", "1:4", "--cells", "3:17:2", "--features", "2:", "--dtype", "uint32", "--threads", "1"]
    ran("sample", posterior, "-o", output, *options)
    np.testing.assert_array_equal(np.load(output), CountStream(small_posterior)[1:4, 3:17:2, 2:])
    assert np.load(output).dtype == np.uint32


def test_sample_for_other_cells(posterior: Path, counts_h5ad: Path, tmp_path: Path) -> None:
    with h5py.File(posterior, "r+") as file:
        file.attrs["size_factor_scale"] = 10.0
    output = tmp_path / "other.npy"
    ran("sample", posterior, "-o", output, "--for-cells", counts_h5ad, "--group-key", "bio_rep")
    others = Posterior.open(posterior).for_cells(counts_h5ad, group_key="bio_rep")
    np.testing.assert_array_equal(np.load(output), CountStream(others)[:, :, :])
    ran("verify", output, "--posterior", posterior, "--for-cells", counts_h5ad, "--group-key", "bio_rep", "--full")


def test_an_existing_output_is_refused_and_untouched(posterior: Path, counts: Path) -> None:
    before = counts.read_bytes()
    assert "exists; give --overwrite to replace it" in refused("sample", posterior, "-o", counts, "--seed", "1")
    assert counts.read_bytes() == before
    ran("sample", posterior, "-o", counts, "--seed", "1", "--overwrite")
    assert counts.read_bytes() != before


def test_no_command_replaces_what_it_reads(posterior: Path, counts_h5ad: Path, tmp_path: Path) -> None:
    by_another_name = tmp_path / "link.h5"
    by_another_name.symlink_to(posterior)
    before = posterior.read_bytes(), counts_h5ad.read_bytes()
    tried: list[list[str | Path]] = [
        ["sample", posterior, "-o", posterior],
        ["sample", posterior, "-o", by_another_name],
        ["sample", posterior, "--for-cells", counts_h5ad, "-o", counts_h5ad],
        ["fit", counts_h5ad, "--group-key", "bio_rep", "-o", counts_h5ad],
        ["ppc", posterior, counts_h5ad, "-o", posterior],
        ["ppc", posterior, counts_h5ad, "-o", counts_h5ad],
    ]
    for arguments in tried:
        assert "is read by this very command" in refused(*arguments, "--overwrite")
    assert (posterior.read_bytes(), counts_h5ad.read_bytes()) == before


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing/out{}", "there is no folder"),
        ("out.npz", "this command writes"),
        ("folder{}", "is a folder"),
        ("locked/out{}", "is read-only"),
    ],
)
def test_outputs_are_checked_before_anything_is_read(tmp_path: Path, name: str, complaint: str) -> None:
    missing = tmp_path / "nowhere.h5"  # told of only if it is opened before the output is looked at
    for suffix in (".h5", ".png"):
        (tmp_path / f"folder{suffix}").mkdir()
    with tmpfs(tmp_path / "locked", read_only=True):
        tried: list[tuple[list[str | Path], str]] = [
            (["fit", missing, "--group-key", "bio_rep"], ".h5"),
            (["sample", missing], ".h5"),
            (["ppc", missing, missing], ".png"),
        ]
        for arguments, suffix in tried:
            assert complaint in refused(*arguments, "-o", tmp_path / name.format(suffix))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-o", "missing/counts.h5"], "there is no folder"),
        (["-o", "counts.txt"], "suffix '.txt'"),
        (["-o", "counts.h5", "--features", "3:3"], "--features 3:3 selects none of the 5 features"),
        (["-o", "counts.h5", "--samples", "a:b"], "'a:b' is not a range"),
        (["-o", "counts.h5", "--samples", "9"], "--samples 9 leaves the axis: there are 6 samples"),
        (["-o", "counts.h5", "--samples", "4:8"], "--samples 4:8 leaves the axis: there are 6 samples"),
        (["-o", "counts.h5", "--cells", "30:40"], "--cells 30:40 leaves the axis: there are 20 cells"),
        (["-o", "counts.h5", "--samples=-7:"], "--samples -7: leaves the axis"),
        (["-o", "counts.h5", "--samples", "5:2"], "--samples 5:2 selects none of the 6 samples"),
        (["-o", "."], "the suffix ''"),
    ],
)
def test_sample_refuses_in_one_line(
    posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in refused("sample", posterior, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["posterior.h5"]


def test_names_and_numbers_may_come_from_files(
    small_posterior: Posterior, posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("cells", "cell3\ncell17\n\n"),
        ("genes", "JAK2\nCD86\n"),
        ("samples", "4\n1\n"),
        ("none", "\n"),
    ):
        Path(name).write_text(text)
    options = ["--cells", "cells", "--features", "genes", "--samples", "samples"]
    ran("sample", posterior, "-o", "counts.npy", *options)
    np.testing.assert_array_equal(
        np.load("counts.npy"), CountStream(small_posterior)[[4, 1], :, :][:, [3, 17]][..., [4, 1]]
    )
    ran("verify", "counts.npy", "--posterior", posterior, "--full")
    for option, name, told in (
        ("--cells", "genes", "there is no cell named 'JAK2'"),
        ("--samples", "genes", "--samples genes: not a file of numbers"),
        ("--features", "none", "--features none: there is nothing in this file"),
    ):
        assert told in refused("sample", posterior, "-o", "more.npy", option, name)


def test_a_missing_posterior_is_named(tmp_path: Path) -> None:
    assert "nowhere.h5: there is no such file" in refused("sample", tmp_path / "nowhere.h5", "-o", tmp_path / "c.h5")


def test_verbose_tells_what_is_decided(posterior: Path, tmp_path: Path) -> None:
    options = ["--minibatch-size", "4", "--threads", "1"]
    result = ran("sample", posterior, "-o", tmp_path / "counts.h5", *options, "-v")
    for line in ("budget: memory: ", "dtype: uint8, ", "threads: 1, as asked for", "digest of the posterior "):
        assert line in result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("samples ")] == [
        "samples 0 to 3 of 6: parameters read",
        "samples 4 to 5 of 6: parameters read",
    ]
    assert "digest" not in ran("sample", posterior, "-o", tmp_path / "again.h5", *options).stderr


def test_quiet_prints_nothing(posterior: Path, tmp_path: Path) -> None:
    assert ran("sample", posterior, "-o", tmp_path / "counts.h5", "-q").output == ""


def test_sample_reports_size_and_speed(posterior: Path, tmp_path: Path) -> None:
    result = ran("sample", posterior, "-o", tmp_path / "counts.h5")
    assert "predicted peak" in result.stdout
    assert "600 counts" in result.stdout.splitlines()[-1]
    assert "counts/s" in result.stdout.splitlines()[-1]


# -- verify, info


def test_verify_says_what_it_checked(posterior: Path, counts: Path) -> None:
    assert (
        ": right. 6 checksums of 600 counts, 600 counts computed again"
        in ran("verify", counts, "--posterior", posterior, "--full").stdout
    )
    facts = json.loads(ran("verify", counts, "--posterior", posterior, "--json").stdout)
    assert (facts["ok"], facts["counts_total"]) == (True, S * N * T)


def test_verify_says_what_the_twin_has_seen(posterior: Path, counts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["verify", counts, "--posterior", posterior, "--seed", "3"]
    if twin.built():
        assert "100 counts computed again (64 by the twin)" in ran(*arguments).stdout
    assert json.loads(ran(*arguments, "--json").stdout)["seed"] == 3
    monkeypatch.setitem(sys.modules, "streamsample._twin", None)
    assert "100 counts computed again (the twin is not built)" in ran(*arguments).stdout


def test_verify_as_json_says_what_is_wrong(posterior: Path, counts: Path) -> None:
    with h5py.File(counts, "r+") as file:
        file["counts"][2, 3, 1] += 1
    result = run("verify", counts, "--posterior", posterior, "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["ok"], facts["path"]) == (False, str(counts))
    assert "(s=2, n=3, t=1)" in facts["error"]
    assert result.stderr.endswith(f"error: {facts['error']}\n")


def test_verify_of_a_file_that_is_cut_short_is_told_in_words(posterior: Path, counts: Path) -> None:
    counts.write_bytes(counts.read_bytes()[:-10])
    line = refused("verify", counts, "--posterior", posterior)
    assert line == f"error: {counts} is cut short: it ends before its counts do; write it again"


def test_verify_names_the_first_wrong_count(posterior: Path, counts: Path) -> None:
    with h5py.File(counts, "r+") as file:
        file["counts"][2, 3, 1] += 1
    line = refused("verify", counts, "--posterior", posterior)
    assert "(s=2, n=3, t=1)" in line


def test_verify_refuses_another_posterior(counts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    Posterior.from_arrays(np.ones((S, T)), np.ones((S, T)), n_cells=N).save(other)
    assert "another posterior" in refused("verify", counts, "--posterior", other)


def test_info_of_a_posterior(posterior: Path) -> None:
    facts = json.loads(ran("info", posterior, "--json").stdout)
    assert (facts["kind"], facts["shape"], facts["group_names"]) == ("posterior", [S, N, T], ["rep_1", "rep_2"])
    assert "6, 20, 5" in ran("info", posterior).stdout


@pytest.mark.parametrize("suffix", [".h5", ".npy"])
def test_info_of_counts(posterior: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"counts{suffix}"
    ran("sample", posterior, "-o", output, "--seed", "3", "--cells", "4:9", "-q")
    facts = json.loads(ran("info", output, "--json").stdout)
    assert (facts["kind"], facts["shape"], facts["seed"], facts["complete"]) == ("counts", [S, 5, T], 3, True)
    assert facts["posterior_digest"] == Posterior.open(posterior).digest()
    assert facts["posterior_digest"] in ran("info", output).stdout


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".zarr"])
def test_info_of_an_unfinished_output_by_either_name(
    posterior: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / f"counts{suffix}"
    monkeypatch.setattr("streamsample.stores.writing.COMMIT_SECONDS", 0)
    seen: list[str | None] = [None, None, None, "SIGTERM"]
    monkeypatch.setattr(Stopper, "reason", lambda *_: seen.pop(0))
    refused("sample", posterior, "-o", output, "--minibatch-size", "1", code=75)
    for path in (output, tmp_path / f"counts{suffix}.partial"):
        facts = json.loads(ran("info", path, "--json").stdout)
        assert (facts["complete"], facts["written"], facts["seed"]) == (False, 0.5, 0)


def test_info_of_anndata_gives_the_command_that_fits_it(counts_h5ad: Path) -> None:
    printed = ran("info", counts_h5ad).stdout
    assert "bio_rep" in printed
    proposed = next(line for line in printed.splitlines() if "streamsample fit" in line)
    assert "--group-key bio_rep" in proposed
    facts = json.loads(ran("info", counts_h5ad, "--json").stdout)
    assert (facts["kind"], facts["nfeatures"]) == ("anndata", T + 2)


def test_info_of_a_folder_or_of_something_else_is_told_in_words(tmp_path: Path) -> None:
    assert "is a folder; give a file" in refused("info", tmp_path)
    notes = tmp_path / "readme.py"
    notes.write_text("print()\n")
    assert "readme.py is none of the files that are known: HDF5 (.h5, .h5ad), .zarr and .npy" in refused("info", notes)


@pytest.mark.parametrize("name", ["info", "verify"])
def test_help_names_every_suffix_of_counts(name: str) -> None:
    told = " ".join(ran(name, "--help").stdout.split())
    assert all(suffix in told for suffix in STORES)


@pytest.mark.parametrize("name", ["notes.h5ad", "notes.h5", "notes.npy"])
def test_info_of_a_text_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not what its name says\n")
    assert name in refused("info", path)


def test_info_of_someone_elses_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    assert "neither a posterior nor counts" in refused("info", path)


# -- fit, ppc


def fit_options(nsamples: int = 8) -> list[str]:
    return ["--group-key", "bio_rep", "--nsamples", str(nsamples), "--niters", "30"]


def test_fit_saves_a_posterior_that_can_be_sampled(counts_h5ad: Path, tmp_path: Path) -> None:
    output = tmp_path / "fitted.h5"
    result = ran("fit", counts_h5ad, "-o", output, *fit_options(), "--reference", "rep_2", "--seed", "5")
    assert "[MEMORY]" in result.stderr
    fitted = Posterior.open(output)
    assert fitted.shape == (8, N, T + 2)
    assert fitted.origin.group_key == ("bio_rep",)
    ran("sample", output, "-o", tmp_path / "counts.h5")


def test_fit_refuses_an_existing_output_before_it_reads_anything(posterior: Path, tmp_path: Path) -> None:
    before = posterior.read_bytes()
    assert "exists" in refused("fit", tmp_path / "nowhere.h5ad", "-o", posterior, *fit_options())
    assert posterior.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--group-key", "plate"], "bio_rep"),
        (["--group-key", "bio_rep", "--where", "n_genes >"], "bio_rep"),
        (["--group-key", "bio_rep", "--layer", "raw"], "raw"),
        (["--group-key", "bio_rep", "--sum-factor-key", "depth"], "depth"),
    ],
)
def test_fit_names_what_is_missing(counts_h5ad: Path, tmp_path: Path, options: list[str], complaint: str) -> None:
    output = tmp_path / "fitted.h5"
    assert complaint in refused("fit", counts_h5ad, "-o", output, *options)
    assert not output.exists()


def test_ppc_joins_cells_and_genes_by_name(
    posterior: Path, counts_h5ad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streamsample.report.ppc as module

    seen: dict[str, Any] = {}
    draw = module.plot_ppc

    def watched(observed: Any, summary: Any, path: Path, **options: Any) -> Path:
        seen.update(observed=observed, summary=summary)
        return draw(observed, summary, path, **options)

    monkeypatch.setattr(module, "plot_ppc", watched)
    ran("ppc", posterior, counts_h5ad, "-o", tmp_path / "ppc.png")
    drawn = np.asarray(CountStream(Posterior.open(posterior), seed=1)[0, :, :])
    np.testing.assert_allclose(seen["observed"].mean, drawn.mean(axis=0))
    counts = np.asarray(CountStream(Posterior.open(posterior))[:, :, :], dtype=float)
    np.testing.assert_allclose(seen["summary"].mean, counts.mean(axis=1))
    assert (tmp_path / "ppc.png").stat().st_size > 10_000


def test_ppc_says_which_options_have_no_effect(posterior: Path, counts_h5ad: Path, tmp_path: Path) -> None:
    told = ran("ppc", posterior, counts_h5ad, "-o", tmp_path / "ppc.png", "--group-key", "bio_rep", "-q").stderr
    assert told.startswith("warning: --group-key has no effect")


def test_counts_in_a_layer_for_the_fit_and_in_x_for_other_cells(counts_h5ad: Path, tmp_path: Path) -> None:
    inside = anndata.read_h5ad(counts_h5ad)
    inside.layers["counts"] = inside.X.copy()
    inside.X = np.log1p(inside.X)
    inside.write_h5ad(tmp_path / "layered.h5ad")
    fitted, output = tmp_path / "fitted.h5", tmp_path / "counts.npy"
    ran("fit", tmp_path / "layered.h5ad", "-o", fitted, *fit_options(), "--layer", "counts")
    others: list[str | Path] = ["--for-cells", counts_h5ad, "--layer", "X"]
    ran("sample", fitted, "-o", output, *others)
    ran("verify", output, "--posterior", fitted, "--full", *others)
    ran("plan", fitted, "-o", tmp_path / "planned.h5", *others)
    ran("ppc", fitted, counts_h5ad, "-o", tmp_path / "ppc.png", "--all-cells", "--layer", "X")
    expected = Posterior.open(fitted).for_cells(counts_h5ad, layer="X")
    np.testing.assert_array_equal(np.load(output), CountStream(expected)[:, :, :])


def test_ppc_of_cells_that_were_not_fitted(posterior: Path, counts_h5ad: Path, tmp_path: Path) -> None:
    with h5py.File(posterior, "r+") as file:
        file.attrs["size_factor_scale"] = 10.0
        del file["cell_names"]
        file["cell_names"] = [f"elsewhere{n}" for n in range(N)]
    picture = tmp_path / "ppc.png"
    printed = ran("ppc", posterior, counts_h5ad, "-o", picture, "--group-key", "bio_rep").stdout
    assert "20 cells, 5 features, 6 samples; " in printed
    assert "inside the predictive 90%" in printed


def test_ppc_refuses_an_existing_picture(posterior: Path, counts_h5ad: Path, tmp_path: Path) -> None:
    picture = tmp_path / "ppc.png"
    picture.write_text("mine")
    assert "exists" in refused("ppc", posterior, counts_h5ad, "-o", picture)
    assert picture.read_text() == "mine"


def test_a_read_only_file_system_is_refused(posterior: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "locked", read_only=True) as folder:
        assert "read-only" in refused("sample", posterior, "-o", folder / "counts.h5").lower()


@pytest.mark.parametrize("name", ["counts.npy", "counts.h5"])
def test_a_full_disk_is_one_line_and_leaves_nothing(posterior: Path, tmp_path: Path, name: str) -> None:
    with tmpfs(tmp_path / "small", nbytes=4096) as folder:  # the counts would fit, header and manifest do not
        said = refused("sample", posterior, "-o", folder / name, "--dtype", "uint32")
        assert "No space left on device; free some space there" in said
        assert list(folder.iterdir()) == []
