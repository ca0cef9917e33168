"""The slab's routes against the twin: ``python -m tests.against_twin [--kind KIND] [WORKLOAD ...]``.

Every count is computed twice: by the kernels as a run computes it, and one by one by the twin, another compiler's
program of another algorithm. 10^7 counts of a workload take the twin a minute or two of one core's time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.designs import designed, inflated
from benchmarks.workloads import WORKLOADS, Workload
from streamsample import twin
from streamsample.geometry import Shape
from streamsample.kernels.jit import threads_available
from streamsample.posterior import Posterior
from streamsample.stream import CountStream

CELLS = (4096, 96)
"""Of the slabs compared: many, which the tables of middling means need, and few."""
FEATURES = 2400  # of a slab, some of each route
CELLS_A_TASK = 16


class Outcome(NamedTuple):
    """What came of comparing counts."""

    counts: int
    wrong: int
    waited: int
    """That the routes did not settle where they met them."""
    scalar: int
    """That went on to tier 2."""
    pending: int
    """That went on to tier 3."""
    largest: int
    first: tuple[int, int, int] | None
    """Address of the first that is wrong."""


def shapes(counts: int) -> Iterator[Shape]:
    """Slabs of about so many counts in all, half of them of many cells."""
    for ncells in CELLS:
        nfeatures = min(FEATURES, max(32, counts // (len(CELLS) * ncells)))
        yield max(1, round(counts / (len(CELLS) * ncells * nfeatures))), ncells, nfeatures


def by_twin(stream: CountStream, threads: int) -> NDArray[np.uint32]:
    """All counts by the twin, (S, N, T)."""
    nsamples, ncells, _ = stream.shape
    out = np.empty(stream.shape, np.uint32)
    samples, cells, features = stream.selection.samples, stream.selection.cells, stream.selection.features
    parameters = stream.load(0, nsamples).parameters

    def some(n0: int) -> None:
        n1 = min(n0 + CELLS_A_TASK, ncells)
        part = np.empty((nsamples, n1 - n0, features.size), np.uint32)
        twin.fill(stream.seed, samples, cells[n0:n1], features, parameters, stream.posterior.cells, part)
        out[:, n0:n1] = part

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(some, n0) for n0 in range(0, ncells, CELLS_A_TASK)]:
            done.result()
    return out


KINDS: dict[str, Callable[[Workload, Shape], Posterior]] = {
    "grouped": Workload.posterior,
    "design": designed,
    "inflated": inflated,
}
"""Posteriors of a workload: as it is, and of the stream's second version."""


def compare(workload: Workload, shape: Shape, seed: int, threads: int, kind: str = "grouped") -> Outcome:
    """Compute a slab both ways."""
    stream = CountStream(KINDS[kind](workload, shape), seed)
    minibatch, out = stream.load(0, shape[0]), np.empty(shape, np.uint32)
    minibatch.fill(0, shape[0], 0, shape[1], out)
    differ = np.argwhere(out != by_twin(stream, threads))
    s, n, t = differ[0].tolist() if differ.size else (0, 0, 0)
    return Outcome(
        out.size, len(differ), minibatch.waited, minibatch.scalar, minibatch.pending, int(out.max()),
        (s, n, t) if differ.size else None,
    )  # fmt: skip


def main() -> int:
    """Print a line a slab; 1 if any count is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.against_twin", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all")
    parser.add_argument("--counts", type=int, default=10**7, help="of each workload")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--kind", choices=KINDS, default="grouped", help="with groups alone, a design, or zero inflation"
    )
    options = parser.parse_args()
    unknown = set(options.workloads) - {*WORKLOADS}
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    wrong = 0
    for name in options.workloads or WORKLOADS:
        for shape in shapes(options.counts):
            start = time.perf_counter()
            found = compare(WORKLOADS[name], shape, options.seed, threads_available(), options.kind)
            wrong += found.wrong
            first = "" if found.first is None else f", the first of them at (s, n, t) = {found.first}"
            print(
                f"{name}, {options.kind}, {' x '.join(map(str, shape))}: "
                f"{found.wrong} of {found.counts} counts are wrong{first}; "
                f"{found.waited} waited, {found.scalar} went on to tier 2, {found.pending} to tier 3; "
                f"largest {found.largest}; {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
