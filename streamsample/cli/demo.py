"""``streamsample demo``: the whole job on real data."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamsample.cli.common import detect_budget, number_of, say
from streamsample.cli.fit import fit_with_bar
from streamsample.cli.options import Memory
from streamsample.cli.ppc import draw
from streamsample.cli.sample import write
from streamsample.cli.verify import check, describe
from streamsample.errors import OutputExists, StoreError
from streamsample.units import format_bytes, format_count

if TYPE_CHECKING:
    from streamsample.budget import Budget
    from streamsample.posterior import Posterior

DATA = "papalexi2021_ntc.h5ad"
NCELLS, NFEATURES = 2386, 299
WIDEST = 2
"""Bytes a count: more than 16 bits are never needed here."""
OTHER_NBYTES = 20 * 2**20
"""Posterior and picture."""
MARK = "made-by-streamsample-demo.txt"
SEED = 0

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into; made if it is missing.")]
Samples = Annotated[int, typer.Option(metavar="S", min=1, help="Posterior samples; 100 for a small disk.")]


def demo(out: Out = Path("streamsample-demo"), samples: Samples = 1000, memory: Memory = None) -> None:
    """Run the whole job on real data.

    It fits, plans, samples, verifies and draws the posterior-predictive picture. The data are the 2,386 non-targeting
    cells x 299 genes of a CRISPR screen, three replicates as technical groups.

    Example:
      streamsample demo --samples 100
    """
    _announce(out, samples)
    _claim(out)
    from streamsample.fit import plan  # noqa: F401 (torch's libraries count against RLIMIT_AS)

    budget = detect_budget(memory)
    with as_file(files("streamsample") / "data" / DATA) as data:
        posterior = _fit(data, out / "posterior.h5", samples, budget)
        _stream(posterior, out / "counts.h5", budget)
        _heading("verify", "some of the counts are computed again and compared")
        say(describe(check(out / "counts.h5", posterior)))
        _heading("picture", "observed against predicted counts")
        draw(posterior, data, out / "ppc.png")
    _show_commands(out)


def _announce(out: Path, samples: int) -> None:
    """Say where the demo writes and how much, and refuse a disk that has no room for it."""
    ncounts = samples * NCELLS * NFEATURES
    needed = ncounts * WIDEST + OTHER_NBYTES
    folder = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    say(
        f"Writes into {out.absolute()}: up to {format_bytes(needed)} ({format_count(ncounts)} counts), "
        f"{format_bytes(free)} are free"
    )
    if needed > free:
        raise StoreError(
            f"the demo needs {format_bytes(needed)} but {format_bytes(free)} are free at {folder}; "
            "choose another place with --out, or --samples 100"
        )


def _claim(out: Path) -> None:
    """Make the folder, or take one that an earlier demo has made; files of anyone else are not touched."""
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; choose a folder with --out")
    taken = [name for name in ("posterior.h5", "counts.h5", "ppc.png") if (out / name).exists()]
    if taken and not (out / MARK).exists():
        raise OutputExists(f"{out} holds a {taken[0]} that no demo has made; choose another with --out DIR")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).write_text(
            "The demo of streamsample replaces posterior.h5, counts.h5 and ppc.png in this folder.\n"
        )
    except OSError as error:
        raise StoreError(f"can't write into {out}: {error.strerror or error}; choose another folder") from None


def _heading(name: str, text: str) -> None:
    say("", f"--- {name}: {text}")


def _fit(data: Path, output: Path, samples: int, budget: Budget) -> Posterior:
    from streamsample.fit import TechnicalModel
    from streamsample.posterior import Posterior

    _heading("fit", f"{NCELLS:,} cells x {NFEATURES} genes, replicates as groups; parameters only, no counts are drawn")
    model = TechnicalModel.from_anndata(data, group_key="bio_rep")
    fit_with_bar(model, nsamples=samples, budget=budget, seed=SEED).save(output, overwrite=True)
    say(f"{output}: {number_of(samples, 'draw')}, {format_bytes(output.stat().st_size)}")
    return Posterior.open(output)


def _stream(posterior: Posterior, output: Path, budget: Budget) -> None:
    from streamsample.planner import plan
    from streamsample.report.memory import budget_lines
    from streamsample.stream import CountStream

    _heading("budget", "what this process may use")
    say(*budget_lines(budget))
    stream = CountStream(posterior, seed=SEED)
    made = plan(stream, output, budget=budget)
    _heading("plan", "how the counts are cut so that they fit")
    say(made.explain())
    _heading("sample", "every count is a function of its address, computed and written slab by slab")
    write(stream, output, made, overwrite=True)


def _show_commands(out: Path) -> None:
    say(
        "",
        f"Done; look at {out / 'ppc.png'}. The same with your own counts:",
        "",
        "  streamsample info yours.h5ad",
        "  streamsample fit yours.h5ad -o posterior.h5 --group-key YOUR_BATCH_COLUMN",
        "  streamsample plan posterior.h5 -o counts.h5",
        "  streamsample sample posterior.h5 -o counts.h5",
        "  streamsample verify counts.h5 --posterior posterior.h5",
        "  streamsample ppc posterior.h5 yours.h5ad -o ppc.png",
    )
