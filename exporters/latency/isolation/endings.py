"""What to say of a process that gave no answer: one sentence, its first clause short."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

__all__ = ["of_error", "of_exit", "of_memory", "of_silence", "out_of_memory"]

WORDS = {
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "abort",
    "SIGILL": "illegal instruction",
    "SIGFPE": "arithmetic fault",
}
"""What a signal means, where its name alone does not say it."""
OUT_OF_MEMORY = re.compile(
    r"bad_alloc|MemoryError|out of memory|failed to allocate memory|(cannot|can't) allocate memory|"
    r"failed to map segment|not enough memory|thread.*Resource temporarily unavailable",
    re.IGNORECASE,
)
"""How libraries put it that memory, or the share of it that was granted, is used up."""
STATUS = "Status Message: "
"""Behind it ONNX Runtime puts what went wrong, and before it where."""
LAST_WORDS = 2
LONGEST = 300


def of_exit(code: int, doing: str, last_words: Sequence[str], limit_mib: int | None) -> str:
    """Says how a process ended that was not asked to.

    Args:
        code: as `subprocess.Popen.returncode`: negative for a signal.
        doing: what it was at, as in "while it was opened".
        last_words: lines of its stderr.
        limit_mib: the memory it was granted, or None for all there is.
    """
    words = [line.strip() for line in last_words if line.strip()][-LAST_WORDS:]
    wanting = next((line for line in last_words if OUT_OF_MEMORY.search(line)), None)
    if wanting is not None:
        return of_memory(doing, wanting, limit_mib)
    said = f": {'; '.join(words)[:LONGEST]}" if words else ""
    if code >= 0:
        return f"its process left with exit code {code} {doing}{said}"
    name = _signal_name(-code)
    if name == "SIGKILL":
        return f"killed {doing} (SIGKILL): that is what the system does when memory runs out"
    meaning = f" ({WORDS[name]})" if name in WORDS else ""
    return f"{name}{meaning} {doing}{said}"


def of_memory(doing: str, detail: str, limit_mib: int | None) -> str:
    """Says that memory was used up; of the detail what begins with the lack itself."""
    found = OUT_OF_MEMORY.search(detail)
    detail = re.split(r"[);]", detail[found.start() if found else 0 :])[0].strip().rstrip(".")
    limit = f" (--memory-limit {limit_mib})" if limit_mib is not None else ""
    return (
        f"out of memory{limit} {doing}: {detail[:LONGEST]}"
        if detail
        else (f"out of memory{limit} {doing}")
    )


def of_silence(doing: str, seconds: float) -> str:
    """Says that a process was stopped for taking too long."""
    return f"no answer for {seconds:g} s {doing}: it was stopped; --timeout grants more"


def of_error(error: BaseException) -> str:
    """Says in a line what a library raised, without the places in its source."""
    text = " ".join(str(error).split())
    said = text.rpartition(STATUS)[2].rstrip(".")
    return f"{type(error).__name__}: {said[:LONGEST]}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was used up."""
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)) is not None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
