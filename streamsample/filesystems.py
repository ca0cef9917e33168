"""What kinds of file systems do with what is written to them, as far as memory is concerned."""

from __future__ import annotations

from typing import Literal

Medium = Literal["direct", "page cache", "network", "memory"]
"""How counts reach a file system: past the page cache, through it, through it to a server; or it is memory itself."""

_KINDS: dict[str, Medium] = {
    **dict.fromkeys(("ext2", "ext3", "ext4", "xfs", "f2fs"), "direct"),
    **dict.fromkeys(("tmpfs", "ramfs", "devtmpfs"), "memory"),
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "afs", "ceph", "lustre", "gpfs"), "network"),
    **dict.fromkeys(("beegfs", "panfs", "wekafs", "pvfs2", "orangefs", "glusterfs"), "network"),
}


def medium_of(filesystem: str) -> Medium:
    """Tell how a file system of this type is written to; those that nothing is known of have a page cache.

    Btrfs, ZFS and overlays take direct I/O in some versions only, so they are not among those that are relied on.
    """
    return "network" if filesystem.startswith("fuse.") else _KINDS.get(filesystem, "page cache")
