"""Where a model can run: providers that are tried, and TensorRT as far as it comes up."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from reference.fake_onnxruntime import FakeBuild, pretend
from reference.fake_tensorrt import fake_machine

from cake_edge.cli.doctor_runtimes import ort_rows, tensorrt_row
from cake_edge.errors import RuntimeUnavailable
from exporters.runtimes import PROVIDERS, probe
from exporters.tensorrt.probe import Probe

MODULES = ("tensorrt", "tensorrt_rtx")


def test_every_provider_has_a_row_and_only_those_of_the_build_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def answer(module: str, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(request["provider"])
        starts = request["provider"] == "cpu"
        return {"stage": "run", "starts": starts, "reason": "" if starts else "no such device"}

    pretend(monkeypatch, FakeBuild("CUDAExecutionProvider"))
    monkeypatch.setattr(probe, "ask_child", answer)
    rows = {row["provider"]: row for row in ort_rows()}
    assert list(rows) == list(PROVIDERS)
    assert asked == ["cpu", "cuda"]
    assert (rows["cpu"]["works"], rows["cpu"]["detail"]) == (True, "CPUExecutionProvider starts")
    assert (rows["cuda"]["works"], rows["cuda"]["detail"]) == (False, "no such device")
    assert rows["openvino"]["present"] is False
    assert "pip install onnxruntime-openvino" in rows["openvino"]["detail"]


def test_tensorrt_on_a_board_names_the_gpu(monkeypatch: Any) -> None:
    fake_machine(monkeypatch, "10.3.0")
    row = tensorrt_row(MODULES)
    assert (row["present"], row["works"]) == (True, True)
    assert row["detail"] == "tensorrt 10.3.0 runs engines on Orin"


@pytest.mark.parametrize(
    ("version", "detail"),
    [
        ("1.7.1", "tensorrt 1.7.1 builds engines and runs none: no driver"),
        ("", "tensorrt does not come up: no driver"),
    ],
)
def test_one_that_runs_nothing_says_why(
    monkeypatch: pytest.MonkeyPatch, version: str, detail: str
) -> None:
    found = Probe(module="tensorrt", version=version, gpu=None, runs=False, reason="no driver")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("exporters.tensorrt.probe_tensorrt", lambda module: found)
    row = tensorrt_row(MODULES)
    assert (row["present"], row["works"], row["detail"]) == (True, False, detail)


def test_one_that_is_absent_or_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str) -> None:
        raise RuntimeUnavailable("tensorrt is installed but does not load")

    monkeypatch.setattr("exporters.tensorrt.probe_tensorrt", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert tensorrt_row(MODULES)["detail"] == "tensorrt is installed but does not load"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    row = tensorrt_row(MODULES)
    assert (row["present"], row["detail"]) == (False, "not installed")
    assert row["install"] == "pip install 'cake-edge[tensorrt]'"
