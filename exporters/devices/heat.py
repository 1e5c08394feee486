"""How warm a device is, and whether it holds itself back.

Three things hold a clock down. A *throttle alert* of the thermal framework: too hot, now. An
over-current or under-voltage event, which a Jetson counts since it was started: the power supply or
the power mode's limit. And the framework's cap on a clock, which a power mode may also have set:
told apart from an alert, as it is not by itself a fault. The Raspberry Pi's firmware tells all of
it in one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporters.devices.tree import Tree

__all__ = ["Throttling", "temperatures", "throttling"]

FIRMWARE = "sys/devices/platform/soc*/soc*firmware/get_throttled"
NOW = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
SINCE_BOOT = 16
"""Bits 16 to 19 of the firmware's number: bits 0 to 3 at any time since boot."""
EVENTS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "peak over-current"}
"""NVIDIA's counters on Orin and Thor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What holds a device back."""

    alerts: tuple[str, ...]
    """What does so now."""
    caps: tuple[str, ...]
    """Clocks that the thermal framework caps now, as "name: state of states"."""
    events: Mapping[str, int]
    """What has happened since boot, and how often; the Raspberry Pi tells only whether (1)."""


def temperatures(tree: Tree) -> dict[str, float]:
    """Degrees Celsius by thermal zone; a zone that is asleep is left out."""
    found: dict[str, float] = {}
    for zone in tree.match("sys/class/thermal/thermal_zone*"):
        value = tree.number(f"{zone}/temp")
        # -256 °C and 0 are how Tegra reports a part that is powered down.
        if value is None or not 0 < value < 200_000:
            continue
        name = tree.text(f"{zone}/type") or zone.rpartition("/")[2]
        found[name if name not in found else f"{name} {len(found)}"] = value / 1000
    if not found:
        tree.give_up("temperatures", "no readable zone in /sys/class/thermal")
    return found


def throttling(tree: Tree) -> Throttling | None:
    """What holds the device back; None where nothing tells."""
    alerts, caps, events = [], [], {}
    cooling = tree.match("sys/class/thermal/cooling_device*")
    for device in cooling:
        name = tree.text(f"{device}/type") or ""
        state, states = (tree.number(f"{device}/{end}_state") for end in ("cur", "max"))
        if not state or state < 0 or "fan" in name:
            continue
        if name.endswith("-alert"):
            alerts.append(name)
        else:
            caps.append(f"{name}: {state} of {states}")
    for path in tree.match("sys/class/hwmon/hwmon*/oc*_event_cnt"):
        event = path.rpartition("/")[2].partition("_")[0]
        count = tree.number(path)
        if count is not None:
            events[f"{EVENTS.get(event, 'over-current')} ({event})"] = count
    firmware = _firmware_bits(tree)
    if not cooling and not events and firmware is None:
        tree.give_up("throttling", "no cooling device, event counter or firmware flag is readable")
        return None
    if firmware is not None:
        alerts += [name for bit, name in NOW.items() if firmware >> bit & 1]
        events |= {name: firmware >> (bit + SINCE_BOOT) & 1 for bit, name in NOW.items()}
    return Throttling(alerts=tuple(alerts), caps=tuple(caps), events=events)


def _firmware_bits(tree: Tree) -> int | None:
    for path in tree.match(FIRMWARE):
        text = tree.text(path)
        try:
            return int(text or "", 16)
        except ValueError:
            tree.give_up("throttling", f"/{path} holds {text!r}, not a hexadecimal number")
    return None
