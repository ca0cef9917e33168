"""Words, numbers and tables of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable

MEGA = 1e-6


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay a table out in Markdown, numbers to the right."""
    titles = list(head)
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def shape_text(shape: Iterable[int]) -> str:
    """Write (S, N, T) as text."""
    return " x ".join(f"{size:,}" for size in shape)


def ratio_text(ratio: float) -> str:
    """Write a ratio with two or three digits."""
    return f"{ratio:,.0f} x" if ratio >= 10 else f"{ratio:.1f} x"


def verdict(value: float, must: float | None, goal: float | None) -> str:
    """Say how a ratio compares with what was asked for."""
    if must is None or goal is None:
        return ""
    return "goal met" if value >= goal else "must met" if value >= must else "**missed**"
