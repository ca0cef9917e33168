"""The sections of docs/benchmarks.md about files of counts."""

from __future__ import annotations

import math

from benchmarks.markdown import MEGA, table, verdict
from benchmarks.measure import Spread
from benchmarks.results import Result, Results

ENCODED_MUST, RAW_OF_KERNEL, RAW_OF_DISK = 0.8, 0.85, 0.8  # shares of what is possible
BYTES_MUST, BYTES_GOAL = 0.24, 1.35 * 0.142  # of a count that is encoded; the entropy is 0.142
FILES_MUST = 10  # times the rate of Dask's Zarr and of NumPy's memmap


def stores(results: Results) -> str:
    """Rates to disk, sizes, and the share of what kernel, encoder and disk leave possible."""
    rows = []
    for one in results.of("stores"):
        bound, share, must = share_of_possible(one)
        stored = one.info["stored"] / one.info["counts"]
        size = "" if bound == "disk" else verdict(BYTES_MUST / stored, 1.0, BYTES_MUST / BYTES_GOAL)
        rows.append(
            [
                one.name, one.rate.show(MEGA), one.rival("memory").show(MEGA), f"{bound} {one.rival(bound).show(MEGA)}",
                share.show(), f"{must:g}", verdict(share.median, must, math.inf), f"{stored:.3f}", size,
                one.info["filesystem"],
            ]
        )  # fmt: skip
    head = (
        "store", "M counts/s to disk", "kernel", "bound", "share", "must", "", "bytes a count", "", "file system"
    )  # fmt: skip
    return table(head, rows)


def share_of_possible(one: Result) -> tuple[str, Spread, float]:
    """Return what bounds a store beside the kernel, its rate as a share of what both leave possible, and the must.

    Kernel and encoder share all processors. Where counts are stored as they are, the must is a share of the kernel's
    rate or one of the disk's, whichever is lower; the ratio is to that.
    """
    rates = one.info["rates"]
    if _encodes(one):
        both = [possible(kernel, encoder) for kernel, encoder in zip(rates["memory"], rates["encoder"], strict=True)]
        return "encoder", Spread.of_ratio(one.rates, both), ENCODED_MUST
    pairs = zip(rates["memory"], rates["disk"], strict=True)
    least = [min(RAW_OF_KERNEL * kernel, RAW_OF_DISK * disk) for kernel, disk in pairs]
    return "disk", Spread.of_ratio(one.rates, least), 1.0


def possible(kernel: float, encoder: float) -> float:
    """Rate of two things that share all processors."""
    return 1 / (1 / kernel + 1 / encoder)


def files(results: Results) -> str:
    """Rates to disk, and those of what a user could write instead."""
    rows = [
        [one.name, name, one.rate.show(MEGA), one.rival(name).show(MEGA), one.over(name).show(),
         verdict(one.over(name).median, FILES_MUST, math.inf)]
        for one in results.of("files")
        for name in one.info["rates"]
    ]  # fmt: skip
    return table(("store", "instead", "M counts/s", "theirs", "ratio", ""), rows)


def sizes_missed(results: Results) -> list[str]:
    """Return the stores whose encoded counts take more than they may, one a line."""
    sizes = {one.name: one.info["stored"] / one.info["counts"] for one in results.of("stores") if _encodes(one)}
    return [
        f"{name}: {size:.3f} bytes a count, at most {BYTES_MUST:g}" for name, size in sizes.items() if size > BYTES_MUST
    ]


def _encodes(one: Result) -> bool:
    return "encoder" in one.info["rates"]


def stores_found(results: Results) -> list[tuple[str, float, float, str]]:
    """Return what was asked for, what was found, the least that was asked, and the unit."""
    found = []
    for one in results.of("stores"):
        bound, share, must = share_of_possible(one)
        found.append((f"{one.name} of what kernel and {bound} leave possible", share.median, must, "x"))
    for one in results.of("files"):
        found += [(f"{one.name} over {name}", one.over(name).median, FILES_MUST, "x") for name in one.info["rates"]]
    return found
