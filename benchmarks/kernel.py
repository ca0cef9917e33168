"""The kernel's rate on the workloads, in under a minute: ``python -m benchmarks.kernel [WORKLOAD ...]``.

For tuning. One thread; NumPy and the roof take turns with the kernel. ``make bench`` measures everything else.
"""

from __future__ import annotations

import argparse

from benchmarks.measure import Spread, take_turns
from benchmarks.peers import numpy_task
from benchmarks.roof import words_task
from benchmarks.slabs import BenchSlab
from benchmarks.tiers import shares
from benchmarks.workloads import REAL, WORKLOADS, NotAtHandError, posterior_of

HEAD = (
    f"{'workload':<13}{'Mcounts/s':>20}{'numpy M/s':>20}{'ratio':>18}{'must':>6}{'goal':>6}{'of roof':>9}{'scalar':>10}"
)


def line(name: str, rounds: int) -> str:
    """Measure a workload; one row of the table."""
    posterior = posterior_of(name)
    slab = BenchSlab(posterior)
    share = shares(slab).scalar
    tasks = {"kernel": slab.task(1), "numpy": numpy_task(posterior, 1_000_000), "roof": words_task(slab, 1)}
    rates = take_turns(tasks, rounds)
    ratio = Spread.of_ratio(rates["kernel"], rates["numpy"])
    roof = Spread.of_ratio(rates["kernel"], rates["roof"])
    workload = WORKLOADS.get(name) or REAL[name]
    must, goal = (f"{value:g}" if value else "" for value in (workload.must, workload.goal))
    kernel, numpy = (Spread.of(rates[which]).show(1e-6) for which in ("kernel", "numpy"))
    return (
        f"{name:<13}{kernel:>20}{numpy:>20}{ratio.show():>18}{must:>6}{goal:>6}"
        f"{roof.median:>9.1%}{share:>10.3%}  {slab.out.dtype}"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join([*WORKLOADS, *REAL])}; the first six"
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    unknown = set(options.workloads) - {*WORKLOADS, *REAL}
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; there are {', '.join([*WORKLOADS, *REAL])}")
    print(HEAD, flush=True)
    for name in options.workloads or WORKLOADS:
        try:
            print(line(name, options.rounds), flush=True)
        except NotAtHandError as error:
            print(f"{name:<13}{error}", flush=True)


if __name__ == "__main__":
    main()
