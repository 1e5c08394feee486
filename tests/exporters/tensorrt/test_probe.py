"""Whether TensorRT runs here is found out without risk to who asks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
from reference.fake_tensorrt import VERSIONS, fake_machine

from cake_edge.errors import RuntimeUnavailable, UsageMistake
from exporters.tensorrt import probe_tensorrt
from exporters.tensorrt.driver import find_gpu

StandIn = Callable[[str], None]


@pytest.mark.usefixtures("needs_compiler")
def test_without_a_driver_a_library_loads_and_runs_nothing() -> None:
    if find_gpu() is not None:
        pytest.skip("there is a GPU here")
    found = probe_tensorrt("tensorrt_rtx")
    assert found.loads
    assert (found.gpu, found.runs) == (None, False)
    assert found.reason == "no CUDA driver answers on this machine"


@pytest.mark.parametrize("version", VERSIONS)
def test_on_a_board_it_runs(version: str, monkeypatch: Any) -> None:
    fake_machine(monkeypatch, version)
    found = probe_tensorrt()
    assert (found.module, found.version, found.runs, found.reason) == (
        "tensorrt",
        version,
        True,
        "",
    )
    assert found.gpu is not None
    assert found.gpu["compute_capability"] == "8.7"


def test_a_runtime_that_does_not_start_says_why(monkeypatch: Any) -> None:
    fake_machine(monkeypatch, "10.3.0")
    import tensorrt

    def refuse(self: Any, log: Any) -> None:
        log.log(tensorrt.ILogger.Severity.ERROR, "CUDA initialization failure with error: 222")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(tensorrt.Runtime, "__init__", refuse)
    found = probe_tensorrt("tensorrt")
    assert not found.runs
    assert found.reason == "CUDA initialization failure with error: 222"


def test_a_crash_is_an_answer(stand_in: StandIn) -> None:
    stand_in("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    found = probe_tensorrt("tensorrt", timeout_seconds=60)
    assert not found.loads
    assert "SIGSEGV" in found.reason


def test_what_is_missing_comes_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'cake-edge\[tensorrt\]'"):
        probe_tensorrt()
    with pytest.raises(RuntimeUnavailable, match="pip install tensorrt-rtx-cu13"):
        probe_tensorrt("tensorrt_rtx")
    with pytest.raises(UsageMistake, match="no compiler 'tensorflow'"):
        probe_tensorrt("tensorflow")
