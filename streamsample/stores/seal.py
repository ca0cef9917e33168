"""A seal: the checksum of everything in a file that is not counts, within the file itself."""

from __future__ import annotations

import xxhash

PLACE = b"seal-is-put-here"
"""Stands where the seal will be; the seal is that of the bytes with this in its place, and as long."""


def seal_of(data: bytes) -> bytes:
    """Return the seal of bytes in which `PLACE` occurs once: XXH3, 64 bits, as 16 hexadecimal digits."""
    if data.count(PLACE) != 1:
        raise ValueError(f"{data.count(PLACE)} places for a seal")
    return xxhash.xxh3_64_hexdigest(data).encode()


def is_sealed(data: bytes, seal: bytes) -> bool:
    """Whether bytes are as they were when they got their seal."""
    # The digits may occur elsewhere by chance, and a seal put back into the wrong place would say no: try each.
    at = data.find(seal)
    while at >= 0:
        original = data[:at] + PLACE + data[at + len(seal) :]
        if xxhash.xxh3_64_hexdigest(original).encode() == seal:
            return True
        at = data.find(seal, at + 1)
    return False
