"""Clocks and the power mode: what they may be, and whether they are held where they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from exporters.devices.tree import Tree

__all__ = ["Clock", "PowerMode", "find_clocks", "power_mode"]

CPU = "sys/devices/system/cpu"
MEMORY_CLOCK = "sys/kernel/debug/bpmp/debug/clk/emc"
GPU = re.compile(r"\.gpu$|\.ga10b$|\.gv11b$|\.gp10b$|\.gm20b$|^gpu-|^gpu$")
MODE = re.compile(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock domain, in MHz."""

    name: str
    """cpu0-3, gpu-gpc-0, emc, …"""
    kind: str
    """cpu, gpu or memory."""
    lowest: float
    """What it may fall to."""
    highest: float
    """What it may rise to."""
    now: float | None
    """What it is; None where that may not be read."""
    governor: str | None
    """Who decides."""

    @property
    def locked(self) -> bool:
        """Whether it has nowhere to go, which `jetson_clocks` brings about."""
        return self.lowest == self.highest


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerMode:
    """The power mode of a Jetson, as `nvpmodel -q` names it."""

    number: int
    """Its number; a higher one is not a faster one."""
    name: str | None
    """15W, MAXN_SUPER, …; None where no configuration names it."""
    others: tuple[str, ...]
    """The other modes that this board has."""


def power_mode(tree: Tree) -> PowerMode | None:
    """The power mode that is set; asked of a Jetson only."""
    status = tree.text("var/lib/nvpmodel/status", what="power mode")
    found = re.search(r"pmode:(\d+)", status or "")
    if found is None:
        return None
    number = int(found[1])
    configuration = tree.text("etc/nvpmodel.conf", what="name of the power mode")
    modes = {int(mode): name for mode, name in MODE.findall(configuration or "")}
    return PowerMode(
        number=number,
        name=modes.get(number),
        others=tuple(name for mode, name in modes.items() if mode != number),
    )


def find_clocks(tree: Tree, *, jetson: bool) -> tuple[Clock, ...]:
    """The clocks of processor and GPU and, where a Jetson lets them be read, of memory."""
    found = [*_processor_clocks(tree), *_gpu_clocks(tree)]
    if jetson:
        found += _memory_clock(tree)
    if not found:
        tree.give_up("clocks", f"neither /{CPU}/cpu*/cpufreq nor /sys/class/devfreq has any")
    return tuple(found)


def _processor_clocks(tree: Tree) -> list[Clock]:
    found = []
    for folder in tree.match(f"{CPU}/cpufreq/policy*") or tree.match(f"{CPU}/cpu*/cpufreq"):
        lowest, highest = (tree.number(f"{folder}/scaling_{end}_freq") for end in ("min", "max"))
        if lowest is None or highest is None:
            continue
        cores = (tree.text(f"{folder}/related_cpus") or _core(folder)).split()
        now = tree.number(f"{folder}/scaling_cur_freq")
        found.append(
            Clock(
                name="cpu" + (cores[0] if len(cores) == 1 else f"{cores[0]}-{cores[-1]}"),
                kind="cpu",
                lowest=lowest / 1e3,
                highest=highest / 1e3,
                now=None if now is None else now / 1e3,
                governor=tree.text(f"{folder}/scaling_governor"),
            )
        )
    return found


def _core(folder: str) -> str:
    found = re.search(r"cpu(\d+)/cpufreq$|policy(\d+)$", folder)
    return (found[1] or found[2]) if found else "?"


def _gpu_clocks(tree: Tree) -> list[Clock]:
    found = []
    for folder in tree.match("sys/class/devfreq/*"):
        name = folder.rpartition("/")[2]
        lowest, highest = (tree.number(f"{folder}/{end}_freq") for end in ("min", "max"))
        if GPU.search(name) is None or lowest is None or highest is None:
            continue
        now = tree.number(f"{folder}/cur_freq")
        found.append(
            Clock(
                name=name,
                kind="gpu",
                lowest=lowest / 1e6,
                highest=highest / 1e6,
                now=None if now is None else now / 1e6,
                governor=tree.text(f"{folder}/governor"),
            )
        )
    return found


def _memory_clock(tree: Tree) -> list[Clock]:
    now = tree.number(f"{MEMORY_CLOCK}/rate", what="memory clock (root may read it)")
    held = tree.number(f"{MEMORY_CLOCK}/mrq_rate_locked")
    highest = tree.number(f"{MEMORY_CLOCK}/max_rate")
    if now is None or highest is None:
        return []
    return [
        Clock(
            name="emc",
            kind="memory",
            lowest=(now if held else 0) / 1e6,
            highest=(now if held else highest) / 1e6,
            now=now / 1e6,
            governor=None,
        )
    ]
