"""How much memory this process holds, and the most it held since it was last asked to forget.

Linux keeps both in /proc/self/status, and forgets the peak when 5 is written to
/proc/self/clear_refs (proc(5)). Elsewhere, and where a container forbids it, there is no answer.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["forget_peak", "peak_mib", "resident_mib"]

SELF = Path("/proc/self")
FORGET_PEAK = "5"


def resident_mib(self: Path = SELF) -> float | None:
    """Returns the MiB of this process that lie in memory now, or None where nobody says."""
    return _status("VmRSS", self)


def peak_mib(self: Path = SELF) -> float | None:
    """Returns the most MiB since the start or `forget_peak`, or None where nobody says."""
    return _status("VmHWM", self)


def forget_peak(self: Path = SELF) -> bool:
    """Lets `peak_mib` begin anew; returns False where that is not permitted."""
    try:
        (self / "clear_refs").write_text(FORGET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str, self: Path) -> float | None:
    try:
        text = (self / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name and value.split()[:1] and value.split()[0].isdigit():
            return round(int(value.split()[0]) / 1024, 2)
    return None
