"""The memory model against the truth: plans of many kinds, each run in a fresh process in a memory group of its own.

python -m tests.forecast    # measures all of them, and writes the table of docs/memory.md anew
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamsample.compiled import on_disk
from streamsample.overflow import DTYPES
from streamsample.units import GIB, MIB
from tests.cgroup import memory_group

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "memory.md"
BEGIN, END = "<!-- forecast: begin -->", "<!-- forecast: end -->"


@dataclass(frozen=True)
class Case:
    """One plan to be tried."""

    shape: tuple[int, int, int]
    """(S, N, T)."""
    suffix: str = ".npy"
    """Of the store."""
    cold: bool = False
    """Whether the kernels are compiled in this run, as they are once on a machine."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of `tests.user_run.main`."""

    def __str__(self) -> str:
        """What is special about it."""
        told = [f"{name} {value // MIB} MiB" if name == "memory" else f"{name} {value}" for name, value in self.items()]
        return ", ".join([self.suffix, *told, *(["kernels compiled"] if self.cold else [])])

    def items(self) -> list[tuple[str, Any]]:
        """Options by name."""
        return list(self.options.items())


CASES = (
    Case((6, 2_386, 299)),
    Case((6, 2_386, 299), ".h5", cold=True, options={"dtype": "uint8"}),
    Case((300, 2_386, 299), ".h5", options={"dtype": "uint8", "threads": 1, "mean": 1}),
    Case((6, 8_000, 8_000), options={"dtype": "uint16", "memory": 500 * MIB, "mean": 1}),
    Case((4, 8_000, 8_000), cold=True, options={"dtype": "uint16", "memory": GIB}),
    Case((6, 8_000, 8_000), ".h5", options={"dtype": "uint8", "memory": 700 * MIB, "threads": 1}),
    Case((4, 8_000, 8_000), options={"dtype": "uint32", "memory": GIB, "ngroups": 3, "mean": 300}),
    Case((3, 8_000, 8_000), ".h5", cold=True, options={"dtype": "uint32", "memory": 2 * GIB}),
    Case((2, 20_000, 28_868), options={"dtype": "uint8", "memory": 2 * GIB, "ngroups": 2, "named": True}),
    Case((2, 20_000, 28_868), ".h5", options={"dtype": "uint16", "memory": 4 * GIB, "minibatch": 1}),
    Case((200, 500, 8_000), options={"memory": GIB, "minibatch": 100}),
    Case((100, 500, 8_000), ".h5", options={"memory": GIB, "minibatch": 20, "ngroups": 8}),
    Case((2, 400_000, 500), ".h5", options={"dtype": "uint8", "memory": GIB, "named": True}),
    Case((4, 8_000, 8_000), ".h5", options={"memory": 700 * MIB, "compression": "zstd"}),
    Case((2, 8_000, 8_000), ".h5", options={"memory": 700 * MIB, "compression": "gzip"}),
    Case((4, 8_000, 8_000), ".zarr", options={"memory": GIB, "dtype": "uint8", "compression": "lz4"}),
    Case((4, 8_000, 8_000), ".zarr", cold=True, options={"memory": GIB, "compression": "zstd"}),
    Case((1, 100_000, 20), options={"memory": 2 * GIB, "covariates": 64}),
)


@dataclass(frozen=True)
class Measured:
    """What came of a case."""

    case: Case
    forecast_nbytes: int
    """Predicted peak."""
    peak_nbytes: int
    """Anonymous, shared, dirty and written-back memory at its largest, looked at every 10 ms."""
    output_nbytes: int
    """Size of the counts."""

    @property
    def share(self) -> float:
        """Truth as a part of the forecast."""
        return self.peak_nbytes / self.forecast_nbytes

    def row(self) -> str:
        """A line of the table."""
        shape = " x ".join(f"{size:,}" for size in self.case.shape)
        sizes = (self.output_nbytes, self.forecast_nbytes, self.peak_nbytes)
        return f"| {shape} | {self.case} | {' | '.join(f'{size / MIB:,.0f}' for size in sizes)} | {self.share:.0%} |"


def measure(case: Case, folder: Path) -> Measured:
    """Run a case in a fresh process, and remove what it has written."""
    path = folder / f"counts{case.suffix}"
    environ = dict(os.environ)
    if case.cold:  # in a folder of its own: another case may have compiled for this type
        environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
    argv = [sys.executable, "-m", "tests.user_run", str(path), json.dumps({"shape": case.shape, **case.options})]
    with memory_group(16 * GIB) as group:
        with group.popen(argv, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            plan = json.loads(process.stdout.readline())
            peak = group.peak_until_end(process)
        if process.returncode != 0:
            raise RuntimeError(f"{case} ended with {process.returncode}")
    for found in folder.glob("counts*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    return Measured(case, plan["peak_nbytes"], peak, plan["output_nbytes"])


def warm(dtype: str, folder: Path) -> None:
    """Compile the kernels for counts of a type, if they are not: only those cases compile that say so."""
    if not on_disk(dtype):
        measure(Case((1, 40, 40), options={"dtype": dtype}), folder)


def table(results: list[Measured]) -> str:
    """The table of the document."""
    head = "| samples x cells x features | plan | output, MiB | forecast, MiB | peak, MiB | peak of forecast |"
    return "\n".join([head, "|---|---|--:|--:|--:|--:|", *(result.row() for result in results)])


def main() -> None:
    """Measure every case, and put the table into the document."""
    with tempfile.TemporaryDirectory(prefix="streamsample-forecast-") as folder:
        for dtype in DTYPES:
            warm(dtype, Path(folder))
        text = table([measure(case, Path(folder)) for case in CASES])
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
