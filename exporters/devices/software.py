"""What NVIDIA software a device has: L4T, JetPack, CUDA, TensorRT; read off files, not loaded."""

from __future__ import annotations

import json
import re

from exporters.devices.tree import Tree

__all__ = ["cuda_version", "driver_version", "jetpack_of", "l4t_version", "tensorrt_version"]

RELEASE = re.compile(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)")
JETPACKS = {
    "39.2.2": "7.2.2", "39.2.1": "7.2.1", "39.2.0": "7.2",
    "38.4.0": "7.1", "38.2.2": "7.0", "38.2.1": "7.0", "38.2.0": "7.0",
    "36.5.2": "6.2.3", "36.5.0": "6.2.2", "36.4.7": "6.2.1", "36.4.4": "6.2.1",
    "36.4.3": "6.2", "36.4.0": "6.1", "36.3.0": "6.0",
    "35.6.5": "5.1.7", "35.4.1": "5.1.2", "35.3.1": "5.1.1", "35.2.1": "5.1",
}  # fmt: skip
"""JetPack by release of L4T, which NVIDIA also calls Jetson Linux."""
NVINFER = re.compile(r"libnvinfer\.so\.(\d+(?:\.\d+)+)$")
STATUS = "var/lib/dpkg/status"


def l4t_version(tree: Tree) -> str | None:
    """The release of L4T, such as 36.4.3; asked of a Jetson only."""
    text = tree.text("etc/nv_tegra_release")
    found = RELEASE.search(text or "")
    if found:
        return _three(f"{found[1]}.{found[2]}")
    package = _package(tree, r"nvidia-l4t-core")
    if package is None:
        tree.give_up("L4T", "neither /etc/nv_tegra_release nor the package nvidia-l4t-core")
        return None
    return _three(package.partition("-")[0])


def jetpack_of(tree: Tree, l4t: str | None) -> str | None:
    """The JetPack that a release of L4T belongs to; the installed package has the last word."""
    package = _package(tree, r"nvidia-jetpack")
    if package is not None:
        return re.split(r"[+-]", package)[0]
    if l4t is None:
        return None
    if l4t not in JETPACKS:
        tree.give_up("JetPack", f"L4T {l4t} is not in the table, nor nvidia-jetpack installed")
    return JETPACKS.get(l4t)


def tensorrt_version(tree: Tree) -> str | None:
    """The version of the system's TensorRT, from its library's name or its package."""
    for path in tree.match("usr/lib/*/libnvinfer.so.*.*"):
        found = NVINFER.search(path)
        if found:
            return found[1]
    package = _package(tree, r"tensorrt|libnvinfer\d+")
    if package is None:
        return None
    return ".".join(re.split(r"[+-]", package)[0].split(".")[:3])


def cuda_version(tree: Tree) -> str | None:
    """The version of the CUDA toolkit."""
    text = tree.text("usr/local/cuda/version.json")
    if text is not None:
        try:
            return str(json.loads(text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            tree.give_up("CUDA", "/usr/local/cuda/version.json is damaged")
    package = _package(tree, r"cuda-cudart-\d+-\d+")
    return package.partition("-")[0] if package is not None else None


def driver_version(tree: Tree) -> str | None:
    """The version of NVIDIA's kernel driver."""
    text = tree.text("proc/driver/nvidia/version")
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)", text or "")
    return found[1] if found else None


def _package(tree: Tree, name: str) -> str | None:
    """The version of the first installed package whose whole name matches."""
    wanted = re.compile(name)
    for block in (tree.text(STATUS) or "").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if wanted.fullmatch(fields.get("Package", "")) and "ok installed" in fields["Status"]:
            return fields.get("Version")
    return None


def _three(version: str) -> str:
    """36.4 as 36.4.0: the same release is written both ways."""
    return version + ".0" * (2 - version.count("."))
