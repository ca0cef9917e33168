"""The sections of docs/benchmarks.md, each from the results of one group."""

from __future__ import annotations

import math
import statistics
from typing import Any

from benchmarks.markdown import MEGA, ratio_text, shape_text, table, verdict
from benchmarks.measure import Spread
from benchmarks.results import Result, Results
from benchmarks.store_tables import sizes_missed, stores_found

THREADS_MUST = 1.8  # all threads over one, on two cores
ROOF_WORKLOAD, ROOF_MUST, ROOF_GOAL = "single_cell", 0.12, 0.25
START_MUST = {"cold": 12.0, "cached": 0.5}  # seconds of the first call
FIT_DATA, FIT_MUST = "sc_mixology", 3  # times faster than the plain likelihood
VIRTUAL_MUST = 3  # times the cost of decoding the same counts
READ_MUST = 0.5  # seconds of a process that reads 1,000 counts


def kernel(results: Results) -> str:
    """Rates by workload, and what was missed."""
    rows = []
    for one in results.of("kernel"):
        info, ratio = one.info, one.over("numpy")
        must, goal = (f"{info[key]:g}" if info[key] else "" for key in ("must", "goal"))
        rows.append(
            [
                one.name, shape_text(info["shape"]), f"{info['mean']:,.2f}", f"{info['zeros']:.0%}", info["dtype"],
                one.rate.show(MEGA), one.rival("numpy").show(MEGA), ratio.show(), must, goal,
                verdict(ratio.median, info["must"], info["goal"]),
            ]
        )  # fmt: skip
    head = (
        "workload", "S x N x T", "mean", "zeros", "type", "M counts/s", "NumPy", "ratio", "must", "goal", ""
    )  # fmt: skip
    return table(head, rows)


def roof(results: Results) -> str:
    """Share of the roof, share of the scalar path, and what more threads give."""
    rows = []
    for one in results.of("kernel"):
        share, threads = one.over("roof"), one.info["rates"].get("threads")
        asked = (ROOF_MUST, ROOF_GOAL) if one.name == ROOF_WORKLOAD else (None, None)
        gain = None if threads is None else Spread.of_ratio(threads, one.rates)
        rows.append(
            [
                one.name, one.rival("roof").show(MEGA), f"{share.median:.1%} ({share.low:.1%}-{share.high:.1%})",
                verdict(share.median, *asked),
                f"{one.info['waited']:.2%}",
                f"{one.info['scalar']:.4%}",
                "" if gain is None else gain.show(),
                "" if gain is None else verdict(gain.median, THREADS_MUST, math.inf),
            ]
        )  # fmt: skip
    threads = max(one.info["threads"] for one in results.of("kernel"))
    head = (
        "workload",
        "words alone, M/s",
        "share of the roof",
        "",
        "to the lanes",
        "to the scalar path",
        f"{threads} threads over 1",
        "",
    )
    return table(head, rows)


def second(results: Results) -> str:
    """Rates of the stream's second version, of those of its first."""
    found = list(results.of("second"))
    rows = []
    for name in dict.fromkeys(one.info["workload"] for one in found):
        kinds = {one.info["kind"]: one for one in found if one.info["workload"] == name}
        design, inflation = kinds["design"], kinds["zero inflation"]
        share = design.over("grouped")
        rows.append(
            [
                name, design.rival("grouped").show(MEGA), design.rate.show(MEGA), share.show(),
                f"{design.info['must']:.2g}", verdict(share.median, design.info["must"], math.inf),
                inflation.rate.show(MEGA), inflation.over("grouped").show(),
            ]
        )  # fmt: skip
    head = (
        "workload", "groups alone, M counts/s", "8 covariates", "share", "must", "", "zero inflation", "share"
    )  # fmt: skip
    return table(head, rows)


def dtype(results: Results) -> str:
    """Rates by type."""
    rows = [[one.name, one.rate.show(MEGA), one.rival("roof").show(MEGA)] for one in results.of("dtype")]
    return table(("type", "M counts/s", "words alone"), rows)


def batch(results: Results) -> str:
    """Rates by minibatch and slab, and Pyro's by minibatch."""
    found = list(results.of("batch"))
    slabs = list(dict.fromkeys(_slab(one) for one in found))
    ours = {(one.info["minibatch"], _slab(one)): one.rate for one in found}
    pyro = {one.info["minibatch"]: one.rate for one in results.of("batch of Pyro")}
    rows = [
        [
            str(minibatch),
            *(ours[minibatch, slab].show(MEGA) if (minibatch, slab) in ours else "" for slab in slabs),
            pyro[minibatch].show(MEGA),
        ]
        for minibatch in pyro
    ]
    head = ("minibatch", *(f"slab {s} x {n:,}, {nbytes / 2**20:.2g} MiB" for s, n, nbytes in slabs), "Pyro, 1 thread")
    return table(head, rows)


def _slab(one: Result) -> tuple[int, int, int]:
    """Samples, cells and bytes of a slab."""
    return one.info["slab_samples"], one.info["slab_cells"], one.info["slab_nbytes"]


def mean(results: Results) -> str:
    """Rates by mean."""
    rows = [
        [
            f"{one.info['mean']:,g}",
            one.rate.show(MEGA),
            one.rival("numpy").show(MEGA),
            one.over("numpy").show(),
        ]
        for one in results.of("mean")
    ]
    return table(("mean", "M counts/s", "NumPy", "ratio"), rows)


def peers(results: Results) -> str:
    """Rates of what a user could call instead."""
    found = list(results.of("peers"))
    names = list(found[0].info["rates"])
    rows = []
    for one in found:
        slower = (f"{one.rival(name).show(MEGA)}: {ratio_text(one.over(name).median)}" for name in names)
        rows.append([one.name, one.rate.show(MEGA), *slower])
    return table(("workload", "streamsample, M counts/s", *names), rows)


def libraries(results: Results) -> str:
    """Rates of other libraries' own predictive counts."""
    rows = [
        [one.name, one.rate.show(MEGA), one.rival("theirs").show(MEGA), ratio_text(one.over("theirs").median)]
        for one in results.of("libraries")
    ]
    return table(("library", "streamsample, M counts/s", "its own", "ratio"), rows)


def virtual(results: Results) -> str:
    """Time of computing slices over that of decoding them."""
    rows = []
    for one in results.of("virtual"):
        each, costs = one.info["counts"] / one.info["slices"], costs_of_computing(one)
        rates = one.rate, *(one.rival(store) for store in costs)
        times = (f"{1e3 * each / rate.median:,.2f}" for rate in rates)
        kept = "must met" if max(cost.median for cost in costs.values()) <= VIRTUAL_MUST else "**missed**"
        shown = (cost.show() for cost in costs.values())
        rows.append([one.name, f"{each:,.0f}", *times, *shown, f"{VIRTUAL_MUST:g}", kept])
    headings = (
        "slice", "counts", "computed, ms", ".h5, ms", ".zarr, ms", "cost over .h5", "over .zarr", "at most", "",
    )  # fmt: skip
    return table(headings, rows)


def costs_of_computing(one: Result) -> dict[str, Spread]:
    """Time that a slice of a virtual dataset takes over that of decoding it from each store, round by round."""
    return {store: Spread.of_ratio(one.info["rates"][store], one.rates) for store in (".h5", ".zarr")}


def fit(results: Results) -> str:
    """Time of a fit's step, and of one with the plain likelihood."""
    rows = []
    for one in results.of("fit"):
        counts = math.prod(one.info["shape"])
        ours, plain = (f"{1e3 * counts / rate.median:,.1f}" for rate in (one.rate, one.rival("plain")))
        must = FIT_MUST if one.name == FIT_DATA else None
        rows.append(
            [
                one.name, shape_text(one.info["shape"]), ours, plain, one.over("plain").show(),
                f"{must:g}" if must else "", verdict(one.over("plain").median, must, math.inf),
            ]
        )  # fmt: skip
    return table(("data", "N x T", "a step, ms", "plain, ms", "ratio", "must", ""), rows)


def draw(results: Results) -> str:
    """Rates of drawing parameters."""
    rows = [
        [str(one.info["minibatch"]), "yes" if one.info["parallel"] else "no", one.rate.show(MEGA)]
        for one in results.of("draw")
    ]
    return table(("minibatch", "parallel", "M parameters/s"), rows)


def start(results: Results) -> str:
    """Seconds until the first counts."""
    rows = []
    for one in results.of("start"):
        state, told = one.info["state"], one.info.get("seconds")
        imports, first = (Spread.of(told[name]) if told else None for name in ("imports", "first call"))
        whole = Spread.of(one.seconds)
        must, value = (START_MUST[state], first) if first else (READ_MUST, whole)
        rows.append(
            [
                state, *(spread.show() if spread else "" for spread in (imports, first, whole)),
                f"{must:g}", "must met" if value and value.median < must else "**missed**",
            ]
        )  # fmt: skip
    return table(("process", "imports, s", "first call, s", "all of it, s", "must, s", ""), rows)


def scaling(results: Results) -> str:
    """Cost of a count by size of each axis, and the exponent of the growth."""
    rows = []
    found = list(results.of("scaling"))
    for number, axis in enumerate("SNT"):
        ladder = [one for one in found if one.info["axis"] == axis]
        sizes = [one.info["shape"][number] for one in ladder]
        costs = [1e9 / one.rate.median for one in ladder]
        others = shape_text(size for i, size in enumerate(ladder[0].info["shape"]) if i != number)
        rows.append(
            [
                axis, others, *(f"{size:,}: {cost:.2f}" for size, cost in zip(sizes, costs, strict=True)),
                f"{_exponent(ladder, sizes):.3f}",
            ]
        )  # fmt: skip
    steps = [f"size {i + 1}: ns a count" for i in range(len(rows[0]) - 3)]
    return table(("axis", "the others", *steps, "time grows as size to the"), rows)


def _exponent(ladder: list[Result], sizes: list[int]) -> float:
    """Slope of the logarithm of time over that of size."""
    x, y = [math.log(size) for size in sizes], [math.log(statistics.median(one.seconds)) for one in ladder]
    return statistics.linear_regression(x, y).slope


def misses(results: Results) -> list[str]:
    """Everything asked for that was not reached, one a line."""
    found: list[tuple[str, float, float, str]] = []
    for one in results.of("kernel"):
        if one.info["must"]:
            found.append((f"{one.name} over NumPy", one.over("numpy").median, one.info["must"], "x"))
        if "threads" in one.info["rates"]:
            gain = Spread.of_ratio(one.info["rates"]["threads"], one.rates).median
            found.append((f"{one.name}: {one.info['threads']} threads over one", gain, THREADS_MUST, "x"))
        if one.name == ROOF_WORKLOAD:
            found.append((f"{one.name}: share of the roof", 100 * one.over("roof").median, 100 * ROOF_MUST, "%"))
    for one in results.of("second"):
        if one.info["must"]:
            share = one.over("grouped").median
            found.append((f"{one.info['workload']} with 8 covariates, of groups alone", share, one.info["must"], "x"))
    found += stores_found(results)
    for one in results.of("fit"):
        if one.name == FIT_DATA:
            found.append((f"a step of the fit of {one.name} over plain Pyro", one.over("plain").median, FIT_MUST, "x"))
    short = [f"{what}: {value:.3g} {unit}, must {must:.3g} {unit}" for what, value, must, unit in found if value < must]
    short += sizes_missed(results)
    for one in results.of("virtual"):
        for store, cost in costs_of_computing(one).items():
            if cost.median > VIRTUAL_MUST:
                short.append(
                    f"{one.name}, computed: {cost.median:.3g} x the cost of decoding it from a {store}, "
                    f"at most {VIRTUAL_MUST:g} x"
                )
    for one in results.of("start"):
        told: dict[str, Any] = one.info.get("seconds") or {}
        state = one.info["state"]
        seconds = statistics.median(told.get("first call", one.seconds))
        must = START_MUST.get(state, READ_MUST)
        if seconds > must:
            short.append(f"start, {state}: {seconds:.2f} s, must {must:g} s")
    return short
