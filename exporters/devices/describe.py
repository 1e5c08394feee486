"""One description of the device at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporters.devices import board, clocks, heat, software
from exporters.devices import memory as store
from exporters.devices.clocks import Clock, PowerMode
from exporters.devices.heat import Throttling
from exporters.devices.rails import find_rails
from exporters.devices.tree import Tree

__all__ = ["Device", "describe_device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What shapes a latency or a power figure of a device; what is unknown is None."""

    kind: str
    """One of `exporters.devices.board.KINDS`."""
    model: str | None
    """The board's name."""
    part: str | None
    """A Jetson module's part number."""
    module: str | None
    """What module that number stands for."""
    system: str | None
    """The distribution's name."""
    kernel: str | None
    """The kernel's release."""
    l4t: str | None
    """A Jetson's release of L4T."""
    jetpack: str | None
    """The JetPack that it belongs to."""
    tensorrt: str | None
    """The system's TensorRT; one that pip installed is not looked for."""
    cuda: str | None
    """The CUDA toolkit."""
    driver: str | None
    """NVIDIA's kernel driver on a PC."""
    power_mode: PowerMode | None
    """A Jetson's nvpmodel."""
    clocks: tuple[Clock, ...]
    """Every clock that can be read."""
    temperatures: Mapping[str, float]
    """Degrees Celsius by zone."""
    throttling: Throttling | None
    """What holds it back."""
    memory: Mapping[str, int] | None
    """Bytes of memory and swap."""
    storage: Mapping[str, int | str | None] | None
    """Bytes of the disk, and its name."""
    rails: Mapping[str, float]
    """Watts now by rail."""
    power_rail: str | None
    """The rail, or the sum of rails, that stands for the whole."""
    unknown: tuple[str, ...]
    """What could not be read, each with its reason."""

    @property
    def clocks_locked(self) -> bool | None:
        """Whether all clocks are held; None where no clock can be read."""
        return all(clock.locked for clock in self.clocks) if self.clocks else None

    @property
    def warmest(self) -> float | None:
        """The highest temperature."""
        return max(self.temperatures.values(), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, `clocks_locked` and each clock's `locked` among them."""
        told = asdict(self)
        told["clocks"] = [{**asdict(clock), "locked": clock.locked} for clock in self.clocks]
        told["unknown"] = list(self.unknown)
        if self.power_mode is not None:
            told["power_mode"]["others"] = list(self.power_mode.others)
        if self.throttling is not None:
            told["throttling"]["alerts"] = list(self.throttling.alerts)
            told["throttling"]["caps"] = list(self.throttling.caps)
        return {**told, "clocks_locked": self.clocks_locked}


def describe_device(root: Path = Path("/")) -> Device:
    """Describes the device whose files are below `root`; reads them and does nothing else."""
    tree = Tree(root)
    kind = board.board_kind(tree)
    jetson = kind == "jetson"
    part, module = board.module_part(tree) if jetson else (None, None)
    l4t = software.l4t_version(tree) if jetson else None
    rails = find_rails(root)
    if not rails.every:
        tree.give_up("power", "no readable INA3221 or INA238 below /sys/class/hwmon")
    described: dict[str, Any] = {
        "kind": kind,
        "model": board.board_model(tree),
        "part": part,
        "module": module,
        "system": _system(tree),
        "kernel": tree.text("proc/sys/kernel/osrelease", what="kernel"),
        "l4t": l4t,
        "jetpack": software.jetpack_of(tree, l4t) if jetson else None,
        "tensorrt": software.tensorrt_version(tree),
        "cuda": software.cuda_version(tree),
        "driver": software.driver_version(tree),
        "power_mode": clocks.power_mode(tree) if jetson else None,
        "clocks": clocks.find_clocks(tree, jetson=jetson),
        "temperatures": heat.temperatures(tree),
        "throttling": heat.throttling(tree),
        "memory": store.memory(tree),
        "storage": store.storage(tree),
        "rails": rails.watts(),
        "power_rail": rails.name or None,
    }
    return Device(**described, unknown=tree.unknown)


def _system(tree: Tree) -> str | None:
    text = tree.text("etc/os-release", what="system")
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', text or "", re.MULTILINE)
    return found[1] if found else None
