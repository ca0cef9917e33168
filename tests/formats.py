"""Every format that counts can be written in: the one list that tests of all formats start from."""

from __future__ import annotations

from streamsample.chunking import ALWAYS, CODECS
from streamsample.target import STORES

FORMATS = tuple((suffix, "none") for suffix in STORES if suffix not in ALWAYS) + tuple(
    (suffix, codec) for suffix in STORES for codec in CODECS[suffix] if codec != "lz4"
)
"""Suffix and compression; lz4 goes the same way as zstd, by Blosc."""
