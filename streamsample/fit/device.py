"""The device where torch computes, and its free memory."""

from __future__ import annotations

import torch

from streamsample.budget import Statement
from streamsample.units import GIB, format_bytes


def statement(device: torch.device) -> Statement | None:
    """State the free memory of a device that has its own; None for the CPU, which has this process's.

    Asking CUDA makes a context of some hundred MB, so nobody asks unless the device will be used.
    """
    if device.type != "cuda":
        return None
    free, total = cuda_memory(device)
    return Statement(str(device), f"{format_bytes(free)} of {total / GIB:.1f} GiB free", nbytes=free, kind="device")


def cuda_memory(device: torch.device) -> tuple[int, int]:
    """Bytes that are free on a CUDA device, what torch has reserved and does not use included, and bytes in all."""
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + unused), int(total)
