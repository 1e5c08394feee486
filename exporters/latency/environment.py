"""What of this machine shapes a latency, and where its figures should not be trusted."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cake_edge import provenance

__all__ = ["INSIDE_THE_CLOCK", "governor", "int8_outlook", "latency_environment", "load_average"]

INSIDE_THE_CLOCK = (
    "one inference call: float32 images in host memory to logits in host memory; "
    "no decoding, no resizing, no normalisation"
)
"""The words a report uses for what a latency contains."""

X86 = frozenset({"x86_64", "amd64", "i686", "i386"})
ARM = frozenset({"aarch64", "arm64", "armv8l", "armv7l"})
X86_DOT_PRODUCT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
ARM_DOT_PRODUCT = frozenset({"asimddp", "i8mm"})


def latency_environment(*, threads: int, load_before: float | None) -> dict[str, Any]:
    """Describes the machine right after a measurement.

    Args:
        threads: threads each model was given.
        load_before: `load_average()` from before the measurement.

    Returns:
        `provenance.environment()` with `governor`, `memory_bytes`, `threads`, `clock`,
        `load_before`, `load_after`, `int8`, and `warnings`: sentences that a reader of the
        figures must know.
    """
    found = provenance.environment()
    cores = found["cores"]
    outlook = int8_outlook(found["machine"], found["cpu_flags"])
    mode = governor()
    warnings = [] if outlook["gain_expected"] else [outlook["reason"]]
    if load_before is not None and cores and load_before > 0.5 * cores:
        warnings.append(
            f"other work was running (load {load_before:.1f} on {cores} cores before the first "
            "call): compare models with each other rather than with other machines"
        )
    if threads > (cores or threads):
        warnings.append(f"{threads} threads were asked for on {cores} cores")
    if mode not in (None, "performance"):
        warnings.append(f"the processor's frequency governor is {mode!r}, not 'performance'")
    return {
        **found,
        "memory_bytes": _memory(),
        "governor": mode,
        "threads": threads,
        "clock": INSIDE_THE_CLOCK,
        "load_before": load_before,
        "load_after": load_average(),
        "int8": outlook,
        "warnings": warnings,
    }


def _memory() -> int | None:
    """Bytes of memory, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def load_average() -> float | None:
    """Runnable processes over the last minute, or None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def governor(root: Path = Path("/sys")) -> str | None:
    """The first core's frequency governor, or None where it cannot be read (virtual machines)."""
    path = root / "devices/system/cpu/cpu0/cpufreq/scaling_governor"
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None


def int8_outlook(machine: str, flags: Collection[str]) -> dict[str, Any]:
    """Says whether INT8 should be faster than FP32 on a processor, and why.

    Args:
        machine: architecture as `platform.machine()` names it.
        flags: the processor's flags as Linux names them.

    Returns:
        `gain_expected` and `reason`, a sentence for people.
    """
    kind = machine.lower()
    if not flags:
        return _outlook(False, "the processor's flags cannot be read here: measure what INT8 gains")
    if kind in X86:
        found = sorted(X86_DOT_PRODUCT.intersection(flags))
        if found:
            return _outlook(True, f"the processor multiplies 8-bit integers natively ({found[0]})")
        return _outlook(
            False,
            "the processor has none of avx512_vnni, avx_vnni, amx_int8: INT8 is emulated with "
            "16-bit sums that can saturate, so expect little speed and check accuracy, "
            "or quantize weights to 7 bits",
        )
    if kind in ARM:
        found = sorted(ARM_DOT_PRODUCT.intersection(flags))
        if found:
            return _outlook(True, f"the processor multiplies 8-bit integers natively ({found[0]})")
        return _outlook(
            False,
            "the processor has neither asimddp nor i8mm: INT8 saves memory, hardly any time",
        )
    return _outlook(False, f"nothing is known of INT8 on {machine or 'this processor'}: measure it")


def _outlook(gain: bool, reason: str) -> dict[str, Any]:
    return {"gain_expected": gain, "reason": reason}
