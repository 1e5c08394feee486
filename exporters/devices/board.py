"""What the board is: a Jetson, a Raspberry Pi, a PC or a virtual machine, and of which model."""

from __future__ import annotations

import re

from exporters.devices.tree import Tree

__all__ = ["KINDS", "board_kind", "board_model", "module_part"]

KINDS = ("jetson", "raspberry-pi", "pc", "virtual", "other")

PART = re.compile(r"p\d{4}-\d{4}")
MODULES = {
    "p2888": "Jetson AGX Xavier",
    "p3310": "Jetson TX2",
    "p3448": "Jetson Nano",
    "p3668": "Jetson Xavier NX",
    "p3701": "Jetson AGX Orin",
    "p3767": "Jetson Orin Nano or NX",
    "p3834": "Jetson AGX Thor",
}
"""NVIDIA's part numbers of modules; other numbers in a device tree are carrier boards."""
HYPERVISORS = ("qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "parallels")
CLOUDS = ("amazon ec2", "google", "microsoft corporation", "alibaba cloud", "openstack", "nebius")


def board_kind(tree: Tree) -> str:
    """Returns one of `KINDS`."""
    compatible = (tree.text("proc/device-tree/compatible") or "").replace("\0", " ")
    model = tree.text("proc/device-tree/model") or ""
    if "nvidia,tegra" in compatible or tree.text("etc/nv_tegra_release") or "Jetson" in model:
        return "jetson"
    if "raspberrypi," in compatible or "Raspberry Pi" in model:
        return "raspberry-pi"
    if _virtual(tree):
        return "virtual"
    return "pc" if _maker(tree) or "vendor_id" in (tree.text("proc/cpuinfo") or "") else "other"


def board_model(tree: Tree) -> str | None:
    """The device tree's name of the board, or the one that its firmware tells."""
    found = tree.text("proc/device-tree/model")
    if found:
        return found
    product = tree.text("sys/class/dmi/id/product_name")
    named = " ".join(word for word in (_maker(tree), product) if word)
    if not named:
        tree.give_up("model", "neither /proc/device-tree/model nor /sys/class/dmi/id names one")
    return named or None


def module_part(tree: Tree) -> tuple[str | None, str | None]:
    """(NVIDIA's part number of the module, what module that is); None where it is no Jetson.

    A development kit's model is that of the kit; the part tells 8 GB from 4 GB.
    """
    for part in PART.findall(tree.text("proc/device-tree/compatible") or ""):
        if part[:5] in MODULES:
            return part, MODULES[part[:5]]
    return None, None


def _virtual(tree: Tree) -> bool:
    firmware = f"{_maker(tree) or ''} {tree.text('sys/class/dmi/id/product_name') or ''}".lower()
    if any(name in firmware for name in (*HYPERVISORS, *CLOUDS)):
        return True
    if tree.text("sys/hypervisor/type"):
        return True
    flags = re.search(r"^flags\s*:(.*)$", tree.text("proc/cpuinfo") or "", re.MULTILINE)
    return flags is not None and "hypervisor" in flags[1].split()


def _maker(tree: Tree) -> str | None:
    return tree.text("sys/class/dmi/id/sys_vendor")
