"""``streamsample budget``: every limit found, and the tightest."""

from __future__ import annotations

from streamsample.cli.common import detect_budget, print_json
from streamsample.cli.options import Json, Memory


def budget(memory: Memory = None, as_json: Json = False) -> None:
    """Show memory and CPUs that may be used.

    Every limit found is listed with its source: SLURM, control groups, resource limits, the host.

    Example:
      streamsample budget --json
    """
    from streamsample.report.memory import budget_lines

    found = detect_budget(memory)
    if as_json:
        print_json(found.to_json())
    else:
        print(*budget_lines(found), sep="\n")
