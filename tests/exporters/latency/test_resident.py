"""How much memory a process holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.latency.resident import forget_peak, peak_mib, resident_mib


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """A process as Linux shows it."""
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1536 kB\n")
    return tmp_path


def test_both_are_in_mib(process: Path) -> None:
    assert (resident_mib(process), peak_mib(process)) == (1.5, 2.0)


def test_the_peak_is_forgotten_by_writing_5(process: Path) -> None:
    assert forget_peak(process) is True
    assert (process / "clear_refs").read_text() == "5"


def test_where_nobody_says_there_is_no_answer(tmp_path: Path) -> None:
    absent = tmp_path / "no-proc"
    assert (resident_mib(absent), peak_mib(absent), forget_peak(absent)) == (None, None, False)
    (tmp_path / "status").write_text("VmRSS:\tunknown\nVmHWM:\n")
    assert (resident_mib(tmp_path), peak_mib(tmp_path)) == (None, None)


ANEW = """
import json
import numpy as np
from exporters.latency.resident import forget_peak, peak_mib, resident_mib
np.ones(8 << 20, np.float64).sum()  # 64 MiB, given back
before, forgotten = peak_mib(), forget_peak()
after, now = peak_mib(), resident_mib()
held = np.ones(8 << 20, np.float64)
print(json.dumps([forgotten, before, after, now, peak_mib(), float(held.sum())]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_begins_anew() -> None:
    # In a process of its own: from a large one the system may take as much in the meantime.
    done = subprocess.run(
        [sys.executable, "-c", ANEW], capture_output=True, text=True, check=True, timeout=60
    )
    forgotten, before, after, now, peak, _ = json.loads(done.stdout)
    if not forgotten:
        pytest.skip("this container does not let a process forget its peak")
    assert after <= before - 60
    assert peak >= now + 60
