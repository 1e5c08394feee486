"""Power rails: the sensors (INA3221, INA238) that tell what a Jetson draws, and which to believe.

A rail's power is its voltage times its current. One sensor may sit on the supply of the whole
module (VDD_IN, POM_5V_IN; VIN on Thor); where none does, the rails that are fed side by side are
added up. What is measured is named in every figure: a module without its carrier board is not what
a wall meter shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cake_edge.errors import DeviceUnavailable
from exporters.devices.tree import Tree

__all__ = ["Rail", "Rails", "find_rails"]

CHIPS = ("ina3221", "ina238")
TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that feed everything else, in the order of preference."""
FED_BY_OTHERS = ("VDDQ_VDD2_1V8AO",)
"""Rails whose power a measured one, VIN_SYS_5V0, holds already."""
UNUSED = ("NC", "sum of shunt voltages", "")
WATTS_FROM = {"microwatts": 1e6, "milliwatts": 1e3, "mV x mA": 1e6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One measured supply line."""

    name: str
    """As the device tree labels it."""
    chip: str
    """The sensor."""
    files: tuple[Path, ...]
    """What is read: one file of power, or one of voltage and one of current."""
    unit: str
    """Of the product of what is read: a key of `WATTS_FROM`."""

    def watts(self) -> float:
        """Its power now.

        Raises:
            OSError: the sensor does not answer.
            ValueError: it answers with no number.
        """
        product = 1
        for path in self.files:
            product *= int(path.read_bytes())
        return product / WATTS_FROM[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The rails of a device, and those of them that stand for the whole."""

    every: tuple[Rail, ...]
    """All of them."""
    total: tuple[Rail, ...] = field(init=False)
    """Those to add up for the power of the module; empty where there are none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", _total(self.every))

    @property
    def name(self) -> str:
        """What is measured: VDD_IN, or VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0."""
        return " + ".join(rail.name for rail in self.total)

    def watts(self) -> dict[str, float]:
        """Watts now by name, of the rails that answer."""
        read = {rail.name: _try(rail) for rail in self.every}
        return {name: round(value, 3) for name, value in read.items() if value is not None}

    def reader(self) -> Callable[[], float]:
        """A function that gives the watts of `total` now.

        Raises:
            DeviceUnavailable: the device has no rails.
        """
        if not self.total:
            raise DeviceUnavailable(
                "this device has no readable power sensor (INA3221 or INA238 below "
                "/sys/class/hwmon): measure its power with a meter at the plug"
            )
        rails = self.total
        return lambda: sum(rail.watts() for rail in rails)


def find_rails(root: Path = Path("/")) -> Rails:
    """Finds the rails whose sensors can be read now, below `root`."""
    tree = Tree(root)
    found = [*_of_hwmon(tree), *_of_industrial_io(tree)]
    return Rails(every=tuple(rail for rail in found if _try(rail) is not None))


def _of_hwmon(tree: Tree) -> list[Rail]:
    found = []
    for folder in tree.match("sys/class/hwmon/hwmon*"):
        chip = tree.text(f"{folder}/name")
        if chip not in CHIPS:
            continue
        for path in tree.match(f"{folder}/in*_label"):
            channel = path.rpartition("/in")[2].removesuffix("_label")
            name = tree.text(path) or ""
            files = [f"{folder}/{part}{channel}_input" for part in ("in", "curr")]
            if name not in UNUSED and all((tree.root / each).is_file() for each in files):
                found.append(_rail(tree, name, chip, files, "mV x mA"))
        if chip == "ina238" and not tree.match(f"{folder}/in*_label"):
            found.append(_rail(tree, "VIN", chip, [f"{folder}/power1_input"], "microwatts"))
    return found


def _of_industrial_io(tree: Tree) -> list[Rail]:
    """JetPack 4 and older: NVIDIA's own driver, with a file of milliwatts."""
    found = []
    for path in tree.match("sys/bus/i2c/drivers/ina3221x/*/iio*device*/rail_name_*"):
        folder, _, channel = path.rpartition("/rail_name_")
        name = tree.text(path) or ""
        if name not in UNUSED:
            power = f"{folder}/in_power{channel}_input"
            found.append(_rail(tree, name, "ina3221x", [power], "milliwatts"))
    return found


def _rail(tree: Tree, name: str, chip: str, files: Sequence[str], unit: str) -> Rail:
    return Rail(name=name, chip=chip, files=tuple(tree.root / each for each in files), unit=unit)


def _try(rail: Rail) -> float | None:
    try:
        return rail.watts()
    except (OSError, ValueError):
        return None


def _total(rails: Sequence[Rail]) -> tuple[Rail, ...]:
    for name in TOTALS:
        for rail in rails:
            if rail.name == name:
                return (rail,)
    return tuple(rail for rail in rails if rail.name not in FED_BY_OTHERS)
