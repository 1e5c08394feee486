"""What every results file has: the command, the code and the machine that made it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.provenance import environment, write_json

__all__ = ["RESULTS", "ROOT", "write_results"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def write_results(path: Path, command: list[str], measured: Mapping[str, Any]) -> None:
    """Writes `measured` beside the command, the commit and the environment."""
    write_json(path, {
        "command": shlex.join(command),
        "commit": _commit(),
        "environment": environment(),
        **measured,
    })  # fmt: skip


def _commit() -> str:
    """The commit that was checked out, with "-dirty" where tracked files differ from it.

    Results themselves do not count: a command that measures several writes each as it comes.
    """
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("diff", "HEAD", "--name-only", "--", ".", ":(exclude)benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.strip()
