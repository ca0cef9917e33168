"""Bytes and counts, read from and written for people."""

from __future__ import annotations

import re

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

# Binary prefixes as SLURM writes them (64G); with a B they are decimal (64GB), with iB binary.
_PREFIXES = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([KMGTP]?)(I?B)?\s*", re.IGNORECASE)


def parse_bytes(text: str | int, *, unit: int = 1) -> int:
    """Turn ``64G`` (binary), ``64GiB`` (binary) or ``64GB`` (decimal) into bytes.

    Parameters
    ----------
    text
        The size; a plain number is multiplied by `unit`.
    unit
        Bytes that a number without a suffix counts in (SLURM's variables: 2**20).

    Raises
    ------
    ValueError
        If the text is not a size.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 64G (binary), 64GB (decimal) or 512MiB")
    number, prefix, suffix = match.groups()
    if not prefix and not suffix:
        return int(float(number) * unit)
    base = 1000 if suffix is not None and suffix.upper() == "B" else 1024
    return int(float(number) * base ** _PREFIXES[prefix.upper()])


def format_bytes(nbytes: float) -> str:
    """Write a number of bytes with a binary prefix: ``3.1 GiB``."""
    for name, size in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.1f} {name}"
    return f"{nbytes:.0f} B"


def format_count(number: float) -> str:
    """Write a large number of things shortly: ``713.4 M``."""
    for name, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.1f} {name}"
    return f"{number:.0f}"


def format_seconds(seconds: float) -> str:
    """Write a duration: ``850 ms``, ``12.3 s``, ``4 min 10 s``, ``3 h 05 min``."""
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
