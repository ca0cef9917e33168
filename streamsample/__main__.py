"""``python -m streamsample``, the same as the command ``streamsample``."""

from __future__ import annotations

from streamsample.cli import main

main()
