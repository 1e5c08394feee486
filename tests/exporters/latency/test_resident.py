"""How much memory a process holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_begins_anew() -> None:
    np.ones(8 << 20, np.float64).sum()  # 64 MiB, given back
    before = peak_mib()
    if not forget_peak():
        pytest.skip("this container does not let a process forget its peak")
    after, now = peak_mib(), resident_mib()
    assert before is not None
    assert after is not None
    assert now is not None
    assert after <= before
    held = np.ones(8 << 20, np.float64)
    peak = peak_mib()
    assert held.sum() > 0
    assert peak is not None
    assert peak >= now + 60
