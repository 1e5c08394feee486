"""How threads wait and where they run, as ONNX Runtime takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cake_edge.errors import UsageMistake
from exporters.runtimes import OrtSession, OrtTuning, tuning


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_processors", lambda: frozenset({0, 1, 2, 5}))


def test_threads_do_not_spin_unless_they_are_told_to() -> None:
    key = "session.intra_op.allow_spinning"
    assert OrtTuning().entries(2)[key] == "0"
    assert OrtTuning(spinning=True).entries(2)[key] == "1"


@pytest.mark.usefixtures("four_processors")
def test_an_affinity_names_processors_for_all_threads_but_the_first() -> None:
    entries = OrtTuning(affinity="2;3,6").entries(3)
    assert entries["session.intra_op_thread_affinities"] == "2;3,6"
    assert "session.intra_op_thread_affinities" not in OrtTuning().entries(3)
    for threads in (1, 2, 4):
        with pytest.raises(UsageMistake, match=f"is for 3 threads, and threads is {threads}"):
            OrtTuning(affinity="2;3,6").entries(threads)


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        ("", "write the processors of each thread"),
        ("2;", "write the processors"),
        ("one", "write the processors"),
        ("0", "names processor 0; this process may use 1, 2, 3, 6, numbered from 1"),
        ("4", "names processor 4"),
        ("1-4", "names processor 4"),
    ],
)
def test_what_onnx_runtime_would_pass_over_in_silence_is_refused(
    affinity: str, message: str
) -> None:
    with pytest.raises(UsageMistake, match=message):
        OrtTuning(affinity=affinity)


def test_a_session_runs_with_both_and_says_so(pooled: Path) -> None:
    first = min(tuning._processors()) + 1
    chosen = OrtTuning(spinning=True, affinity=str(first))
    with OrtSession(pooled, threads=2, tuning=chosen) as session:
        options = session.describe()["options"]
        assert session.infer(np.ones((1, 2, 3, 3), np.float32)).shape == (1, 2)
    assert options["session.intra_op.allow_spinning"] == "1"
    assert options["session.intra_op_thread_affinities"] == str(first)
