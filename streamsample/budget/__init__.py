"""Bytes and CPUs that this process may use: every statement of a limit, and the tightest of them."""

from __future__ import annotations

from streamsample.budget.budget import Budget
from streamsample.budget.host import process_nbytes
from streamsample.budget.statement import Statement

__all__ = ["Budget", "Statement", "process_nbytes"]
