"""Whether a provider starts, asked in a child; and how a child hears why it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import onnx
import pytest
from reference.fake_onnxruntime import FakeBuild, pretend

from exporters.runtimes import ProviderChoice, parse_provider, probe
from exporters.runtimes.probe import probe_provider
from exporters.runtimes.probe_process import ONE_RELU, answer

CUDA = "CUDAExecutionProvider"
MISSING = (
    "2026-11-22 23:43:47.943 [E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] "
    "/onnxruntime/core/session/provider_bridge_ort.cc:1800 void onnxruntime::Provider::Load() "
    "Failed to load library with error: libcublasLt.so.13: cannot open shared object file\x1b[m\n"
)


def test_the_graph_is_onnx() -> None:
    model = onnx.load_from_string(ONE_RELU)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Relu"]


def test_the_processor_starts_and_one_that_is_absent_does_not() -> None:
    found = probe_provider(ProviderChoice())
    assert (found.provider, found.starts, found.reason) == ("cpu", True, "")
    found = probe_provider(ProviderChoice(name="dml"))
    assert not found.starts
    assert "has no DmlExecutionProvider" in found.reason


def test_a_child_that_dies_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"stage": "crash", "messages": ["its process was ended by SIGSEGV", "last words"]}
    monkeypatch.setattr(probe, "ask_child", lambda *_, **__: reply)
    found = probe_provider(ProviderChoice(name="cuda"))
    assert (found.starts, found.reason) == (False, "its process was ended by SIGSEGV; last words")


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            "[W:onnxruntime] something else\n\x1b[1;31m" + MISSING,
            "Failed to load library with error: libcublasLt.so.13: cannot open shared object file",
        ),
        ("nothing of use\n", "it left the provider out, and does not say why"),
    ],
)
def test_what_native_code_prints_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    printed: str,
    reason: str,
) -> None:
    build = pretend(monkeypatch, FakeBuild(CUDA, starts=False))
    monkeypatch.setattr(build, "place", lambda *_: CUDA)
    talk_on_opening(monkeypatch, lambda: os.write(2, printed.encode()))
    assert answer({"provider": "cuda"}) == {"stage": "run", "starts": False, "reason": reason}
    assert capfd.readouterr().err == ""


def test_one_that_starts_needs_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FakeBuild(CUDA))
    assert answer({"provider": "cuda"})["starts"] is True


def test_options_go_along_and_their_refusal_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    build = pretend(monkeypatch, FakeBuild(CUDA, refuses="no device 7"))
    found = answer({"provider": str(parse_provider("cuda,device_id=7"))})
    assert build.options[-1] == {"device_id": "7"}
    assert not found["starts"]
    assert found["reason"].endswith("does not start cuda,device_id=7: no device 7")


def talk_on_opening(monkeypatch: pytest.MonkeyPatch, talk: Callable[[], Any]) -> None:
    import onnxruntime

    opens = onnxruntime.InferenceSession.__init__

    def talking(self: Any, *words: Any, **more: Any) -> None:
        talk()
        opens(self, *words, **more)

    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", talking)
