"""What is said of work that no memory is there for: how much it needs, what takes it, and what would fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamsample.cutting import Work
from streamsample.units import format_bytes

_AROUND = ("process now", "libraries")


def refusal(work: Work, allowed: int, where: str) -> str:
    """Say in a line why nothing fits, and what is the least that has to be given up.

    Parameters
    ----------
    work
        What does not fit, however it is cut.
    allowed
        Bytes that may be held.
    where
        Who allows that, in parentheses.
    """
    least = work.least()
    held = {quantity.name: quantity.nbytes for quantity in least.quantities}
    what = "one slab" if work.minibatch is None else f"a minibatch of {work.minibatch}"
    of_which = f"{format_bytes(sum(held[name] for name in _AROUND))} process and libraries"
    elsewhere = ""
    if "output" in held:
        of_which += f", {format_bytes(held['output'])} the output, as its file system is memory"
        elsewhere = "write to a disk, or "
    return (
        f"{what} needs at least {format_bytes(least.nbytes)} (of which {of_which}) but {format_bytes(allowed)} are "
        f"allowed {where}; {elsewhere}give --memory{_way_out(work, allowed)}"
    )


def _way_out(work: Work, allowed: int) -> str:
    """Find the most that fits: of the minibatch asked for, else of threads, else of features, else of samples."""
    facts, fewest = work.facts, replace(work, minibatch=None if work.minibatch is None else 1)

    def fits(changed: Work) -> bool:
        return changed.fits(allowed)

    if work.minibatch is not None and fits(fewest):
        most = _most(work.minibatch, lambda size: fits(replace(work, minibatch=size)))
        return f", or --minibatch-size {most}"
    single = replace(fewest, threads=1)
    if fits(single):
        most = _most(work.threads, lambda threads: fits(replace(fewest, threads=threads)))
        return f", or --threads {most}{_and_minibatch(work)}"
    if fits(single.part(nfeatures=1)):
        most = _most(facts.nfeatures, lambda features: fits(single.part(nfeatures=features)))
        return f", or --features 0:{most}{_and_threads(work)}{_and_minibatch(work)}"
    if fits(single.part(nsamples=1)):
        most = _most(facts.nsamples, lambda samples: fits(single.part(nsamples=samples)))
        return f", or --samples 0:{most}{_and_threads(work)}{_and_minibatch(work)}"
    return ": not even one feature, nor one sample, would fit"


def _and_threads(work: Work) -> str:
    return "" if work.threads == 1 else " with --threads 1"


def _and_minibatch(work: Work) -> str:
    return "" if work.minibatch in (None, 1) else " and --minibatch-size 1"


def _most(above: int, fits: Callable[[int], bool]) -> int:
    """Largest number below one that does not fit, where 1 does."""
    low, high = 1, above - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
