"""Memory, swap and the disk."""

from __future__ import annotations

import os
import re

from exporters.devices.tree import Tree

__all__ = ["memory", "storage"]


def memory(tree: Tree) -> dict[str, int] | None:
    """Bytes: `total`, `available`, `swap_total`, `swap_free`. A Jetson's GPU uses the same."""
    text = tree.text("proc/meminfo", what="memory")
    if text is None:
        return None
    found = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    names = {
        "total": "MemTotal",
        "available": "MemAvailable",
        "swap_total": "SwapTotal",
        "swap_free": "SwapFree",
    }
    if not found.keys() >= set(names.values()):
        tree.give_up("memory", "/proc/meminfo is not of the usual form")
        return None
    return {name: found[theirs] for name, theirs in names.items()}


def storage(tree: Tree) -> dict[str, int | str | None] | None:
    """What / lies on: `device`, and `total_bytes` and `free_bytes` to an ordinary user."""
    try:
        found = os.statvfs(tree.root)
    except OSError as error:
        tree.give_up("storage", str(error))
        return None
    mounts = re.findall(r"^(\S+) / \S+", tree.text("proc/mounts") or "", re.MULTILINE)
    return {
        "device": mounts[-1] if mounts else None,
        "total_bytes": found.f_frsize * found.f_blocks,
        "free_bytes": found.f_frsize * found.f_bavail,
    }
