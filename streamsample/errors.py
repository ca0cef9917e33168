"""Every error that streamsample raises on purpose.

Each one says in a single line what is wrong, the numbers, and the way out, and
subclasses the standard exception that a caller would catch anyway.
"""

from __future__ import annotations


class StreamsampleError(Exception):
    """Base of every error below; the command line prints it as one line and exits with 1."""


class PosteriorError(StreamsampleError, ValueError):
    """The parameters, or the cells they are applied to, are not usable."""

    @classmethod
    def mean_at(cls, address: tuple[int, int, int], m: float) -> PosteriorError:
        """Name the element ``(s, n, t)`` whose mean is outside the stream's domain."""
        return cls(
            f"the mean at sample {address[0]}, cell {address[1]}, feature {address[2]} is {m:.6g}; a mean must be at "
            "most 1e+07: check beta and the design of that cell, or its size factor"
        )


class DataError(StreamsampleError, ValueError):
    """The observed counts, or their annotation, are not usable."""


class FitError(StreamsampleError, ValueError):
    """The fit can't be started, or did not end in usable draws."""


class SelectionError(StreamsampleError, IndexError):
    """An index, a range or a name that the axes do not have."""


class BudgetError(StreamsampleError, MemoryError):
    """What was asked for does not fit into the memory that may be used."""


class PlanError(StreamsampleError, ValueError):
    """No plan exists for these parameters and this target."""


class CountOverflow(StreamsampleError, OverflowError):
    """A count does not fit the integer type that it has to be stored in."""

    @classmethod
    def at(
        cls, address: tuple[int, int, int], m: float, phi: float, u: float, dtype: str, largest: int
    ) -> CountOverflow:
        """Name the element ``(s, n, t)``, what its count follows from, and the type with its largest value."""
        return cls(
            f"the count at sample {address[0]}, cell {address[1]}, feature {address[2]} (mean {m:.6g}, "
            f"phi {phi:.6g}, u {u:.17g}) is above {largest}, the most that {dtype} holds"
        )


class StoreError(StreamsampleError, OSError):
    """The output can't be written or read."""


class OutputExists(StoreError, FileExistsError):
    """There is a file of that name already, and nobody said that it may be replaced."""


class OutputLocked(StoreError):
    """Another process writes the same output."""


class DiskRefused(StoreError):
    """The disk does not take what is written: it is full, over quota, or fails; what is there already is intact."""


class CorruptSlab(StoreError):
    """Stored counts are not the ones that the manifest promises."""


class MissingExtra(StreamsampleError, ImportError):
    """An optional dependency is needed for what was asked."""


class Interrupted(StreamsampleError):
    """Stopped early by a signal, the end of a job or a full disk, to be resumed; the command line exits with 75."""


def how_to_continue(overwrite: bool) -> str:
    """Name the arguments that continue a run; one that replaces another output's file must say so again."""
    return "resume=True and overwrite=True (--resume --overwrite)" if overwrite else "resume=True (--resume)"
