"""Every format that counts can be written in: the one list that tests of all formats start from."""

from __future__ import annotations

from streamsample.chunking import ALWAYS, CODECS
from streamsample.target import STORES

FORMATS = tuple((suffix, "none") for suffix in STORES if suffix not in ALWAYS) + tuple(
    (suffix, "zstd") for suffix in STORES if "zstd" in CODECS[suffix]
)
"""Suffix and compression; other codecs go the same way as zstd."""
