"""Whether the kernels are compiled already: a process that finds them on disk holds some 200 MiB less.

Numba keeps an index of what it has compiled beside the sources, in the user's cache, or in ``NUMBA_CACHE_DIR``. Asking
Numba itself would mean importing it, which a plan does not need. So the index is looked through as bytes: if it is not
understood, the kernels count as not compiled, and the forecast is too high. It is too low where a folder is shared
by machines whose processors differ and only the others have compiled; then the run shrinks.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_KERNELS = Path(__file__).parent / "kernels"


def on_disk(dtype: str, kernel: str = "fill_by_rows", environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a kernel for counts of this type, from these very sources, has been compiled before."""
    stamp, counts = sources_digest().encode(), f"array({dtype}, 3d, C)".encode()
    return any(stamp in index and counts in index for index in map(_read, _indices(kernel, environ)))


@functools.cache
def sources_digest() -> str:
    """SHA-256 of the sources of all kernels, by which compiled code is tied to them (`kernels.jit`)."""
    sha = hashlib.sha256()
    for path in sorted(_KERNELS.glob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _indices(kernel: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Index files, wherever Numba keeps them."""
    name = f"slab.{kernel}-*.nbi"
    if chosen := environ.get("NUMBA_CACHE_DIR"):
        yield from Path(chosen).glob(f"*/{name}")
        return
    yield from (_KERNELS / "__pycache__").glob(name)
    caches = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield from Path(caches, "numba").glob(f"*/{name}")


def _read(path: Path) -> bytes:
    """Bytes of a file; none where it can't be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
