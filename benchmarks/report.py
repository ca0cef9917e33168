"""Run all benchmarks, write docs/benchmarks.md and its pictures: ``python -m benchmarks.report`` or ``make bench``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import plots, store_tables, tables
from benchmarks.markdown import shape_text
from benchmarks.results import Results
from benchmarks.workloads import CACHE, ROOT
from streamsample.units import format_bytes

DOCS = ROOT / "docs"
LIBRARIES = ("streamsample", "numpy", "numba", "llvmlite", "scipy", "torch", "pyro-ppl", "numpyro", "h5py")

IDLE = 0.5
"""Load average up to which a machine counts as idle."""

PAGE = Path(__file__).parent / "page.md"


def run(output: Path) -> None:
    """Run the benchmarks in a process of their own."""
    options = ["--benchmark-enable", f"--benchmark-json={output}", "--benchmark-columns=median,iqr,rounds", "-q"]
    ended = subprocess.run([sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), *options], cwd=ROOT, check=False)
    if ended.returncode != 0:
        raise SystemExit("error: a benchmark failed; docs/benchmarks.md stays as it was")


def page(results: Results) -> str:
    """Fill in page.md."""
    names = (
        "kernel", "roof", "second", "dtype", "batch", "mean", "peers", "libraries", "virtual", "fit", "draw", "start",
        "scaling",
    )  # fmt: skip
    missed = tables.misses(results)
    told = (
        "\n".join(["**Missed**:", "", *(f"- {line}" for line in missed)]) if missed else "Nothing asked for was missed."
    )
    sizes = next(results.of("batch")).info["shape"]
    return PAGE.read_text(encoding="utf-8").format(
        machine=machine(results), missed=told, batch_shape=f"{shape_text(sizes)} counts of `single_cell`",
        **{name: getattr(tables, name)(results) for name in names},
        stores=store_tables.stores(results), files=store_tables.files(results),
    )  # fmt: skip


def machine(results: Results) -> str:
    """Describe processor, memory and versions."""
    told = results.machine
    cpu = told["cpu"]
    wide = next((name for name in ("avx512f", "avx2", "asimd", "neon") if name in cpu.get("flags", [])), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = [
        [
            "processor",
            f"{cpu.get('brand_raw', 'unknown')}, {cpu.get('count', '?')} CPUs, widest vectors: {wide}",
        ],
        ["memory", format_bytes(memory)],
        ["load beforehand", f"{told['load']:.1f}" + (", so that it was not idle" if told["load"] > IDLE else "")],
        ["system", f"{told['system']} {told['release']}, Python {told['python_version']}"],
        ["libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES)],
        ["sources", f"{results.commit}, {results.date}"],
    ]
    lines = [["machine", ""], ["---", "---"], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Run, or take the results of an earlier run, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, help="results of an earlier run; without it, all benchmarks are run")
    options = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    found: Path = options.results or CACHE / "results.json"
    if options.results is None:
        run(found)
    results = Results.read(found)
    (DOCS / "img").mkdir(exist_ok=True)
    (DOCS / "benchmarks.md").write_text(page(results), encoding="utf-8")
    plots.draw_all(results, DOCS / "img")
    print(f"wrote {DOCS / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
