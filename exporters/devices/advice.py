"""What a person should know, or do, before believing a figure measured on a device."""

from __future__ import annotations

from exporters.devices.describe import Device

__all__ = ["advice", "changes"]

HOT = 85.0
"""Degrees Celsius from which a Jetson or a Raspberry Pi is about to slow down."""
LITTLE_MEMORY = 1 << 30
LITTLE_DISK = 1 << 30


def advice(device: Device) -> tuple[str, ...]:
    """Returns sentences; a setting is never changed, only the command that changes it is told."""
    return (*_of_clocks(device), *_of_heat(device), *_of_room(device), *_of_software(device))


def changes(before: Device, after: Device) -> tuple[str, ...]:
    """Says what happened to a device between two looks at it that a measurement must tell."""
    said = []
    if before.warmest is not None and after.warmest is not None and after.warmest >= HOT:
        said.append(f"it warmed from {before.warmest:.0f} to {after.warmest:.0f} °C meanwhile")
    if before.throttling is not None and after.throttling is not None:
        earlier = before.throttling.events
        for name, count in after.throttling.events.items():
            more = count - earlier.get(name, 0)
            if more > 0:
                said.append(f"{name} happened {more}x meanwhile, and slowed what was measured")
        new = set(after.throttling.alerts) - set(before.throttling.alerts)
        if new:
            said.append(f"it began to hold itself back meanwhile ({', '.join(sorted(new))})")
    if before.power_mode != after.power_mode:
        said.append("the power mode was changed meanwhile: measure again")
    return tuple(said)


def _of_clocks(device: Device) -> list[str]:
    said = []
    mode = device.power_mode
    if mode is not None and not (mode.name or "").startswith("MAXN"):
        fastest = [name for name in mode.others if name.startswith("MAXN")]
        more = f"; {fastest[0]} is faster: sudo nvpmodel -m with its number" if fastest else ""
        said.append(f"the power mode is {mode.name or mode.number}, which caps clocks{more}")
    if device.clocks_locked is False and device.kind == "jetson":
        free = ", ".join(clock.name for clock in device.clocks if not clock.locked)
        said.append(
            f"clocks are not locked ({free}), so a latency depends on how busy the device is: "
            "run sudo jetson_clocks yourself for figures to compare, and leave them free for "
            "figures as deployed"
        )
    elif device.kind in ("raspberry-pi", "pc"):
        governors = {clock.governor for clock in device.clocks if clock.kind == "cpu"}
        other = sorted(name for name in governors - {None, "performance"} if name)
        if other:
            said.append(
                f"the processor's governor is {', '.join(other)}, not performance: clocks follow "
                "the load, and so do latencies"
            )
    return said


def _of_heat(device: Device) -> list[str]:
    said = []
    if device.warmest is not None and device.warmest >= HOT:
        said.append(
            f"it is at {device.warmest:.0f} °C: let it cool, or add a fan, before measuring"
        )
    if device.throttling is None:
        return said
    if device.throttling.alerts:
        said.append(
            f"it is holding itself back ({', '.join(device.throttling.alerts)}): "
            "no figure taken now describes it"
        )
    counted = {name: count for name, count in device.throttling.events.items() if count}
    if counted:
        listed = ", ".join(f"{name} {count}x" for name, count in counted.items())
        said.append(
            f"since it was started: {listed}; a stronger power supply, or a power mode within "
            "the supply's means, keeps these from the figures"
        )
    return said


def _of_room(device: Device) -> list[str]:
    said = []
    if device.memory is not None and device.memory["available"] < LITTLE_MEMORY:
        said.append(
            f"only {device.memory['available'] / 2**20:.0f} MiB of memory are free: "
            "close what is not needed, a desktop for one"
        )
    free = device.storage["free_bytes"] if device.storage is not None else None
    if isinstance(free, int) and free < LITTLE_DISK:
        said.append(f"only {free / 2**20:.0f} MiB of disk are free")
    return said


def _of_software(device: Device) -> list[str]:
    if device.kind == "jetson" and device.tensorrt is None:
        return ["TensorRT is not installed: sudo apt install nvidia-jetpack brings it"]
    return []
