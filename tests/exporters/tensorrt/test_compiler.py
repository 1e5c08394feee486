"""A file is compiled by NVIDIA's library in a child; however that ends, there is an answer."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.tensorrt import compile_onnx

StandIn = Callable[[str], None]


@pytest.mark.usefixtures("needs_compiler")
def test_an_engine_is_built_and_told_of(quantized: Path) -> None:
    result = compile_onnx(quantized, timeout_seconds=120)
    assert (result.ok, result.stage, result.messages) == (True, "build", ())
    assert result.module == "tensorrt_rtx"
    assert result.version
    assert result.engine_bytes > 1000
    assert result.seconds > 0
    assert result.coverage == {
        "int8": {"Conv": 1}, "float": {}, "int8_share": 1.0, "left_float": [],
    }  # fmt: skip
    assert result.to_dict()["messages"] == []


@pytest.mark.usefixtures("needs_compiler")
@pytest.mark.parametrize(("asked", "taken"), [("8.7", "8.6"), ("8.9", "8.9"), ("7.5", "7.5")])
def test_it_says_which_gpu_it_built_for(quantized: Path, asked: str, taken: str) -> None:
    result = compile_onnx(quantized, compute_capability=asked, timeout_seconds=120)
    assert result.ok
    assert result.compute_capability == taken


@pytest.mark.usefixtures("needs_compiler")
def test_a_gpu_it_builds_nothing_for_is_a_mistake(quantized: Path) -> None:
    with pytest.raises(UsageMistake, match=r"builds nothing for compute capability 6\.1; it bui"):
        compile_onnx(quantized, compute_capability="6.1", timeout_seconds=120)


@pytest.mark.usefixtures("needs_compiler")
def test_a_fixed_batch_needs_no_profile(quantized: Path) -> None:
    model = onnx.load(quantized)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, quantized)
    assert compile_onnx(quantized, batches=(2, 2, 2), timeout_seconds=120).ok


@pytest.mark.usefixtures("needs_compiler")
def test_a_refusal_names_operator_and_node(quantized: Path) -> None:
    model = onnx.load(quantized)
    model.graph.node.append(helper.make_node("Det", ["x"], ["det"], name="determinant"))
    onnx.save(model, quantized)
    result = compile_onnx(quantized, timeout_seconds=120)
    assert (result.ok, result.stage, result.engine_bytes) == (False, "parse", 0)
    assert result.messages == ("Det 'determinant': this operator is not supported",)


@pytest.mark.usefixtures("needs_compiler")
def test_weights_beside_the_model_are_found(quantized: Path) -> None:
    model = onnx.load(quantized)
    onnx.save(model, quantized, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert compile_onnx(quantized, timeout_seconds=120).ok


@pytest.mark.usefixtures("needs_compiler")
def test_garbage_is_refused_and_nothing_falls(quantized: Path) -> None:
    quantized.write_bytes(b"garbage")
    result = compile_onnx(quantized, timeout_seconds=120)
    assert (result.ok, result.stage) == (False, "parse")
    assert "Failed to parse the ONNX model" in result.messages[0]


@pytest.mark.parametrize(
    ("source", "last_words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("import os\nos._exit(3)", "left with exit code 3"),
        (
            "import os, sys\nsys.stderr.write('no driver')\nsys.stderr.flush()\nos.abort()",
            "SIGABRT",
        ),
    ],
)
def test_a_crash_costs_one_answer(
    stand_in: StandIn, quantized: Path, source: str, last_words: str
) -> None:
    stand_in(source)
    result = compile_onnx(quantized, module="tensorrt", timeout_seconds=60)
    assert (result.ok, result.stage, result.coverage) == (False, "crash", None)
    assert last_words in result.messages[0]
    assert ("no driver" in result.messages) == ("no driver" in source)


def test_a_library_that_hangs_is_stopped(stand_in: StandIn, quantized: Path) -> None:
    stand_in("import time\ntime.sleep(60)")
    started = time.monotonic()
    result = compile_onnx(quantized, module="tensorrt", timeout_seconds=1)
    assert time.monotonic() - started < 30
    assert (result.ok, result.stage) == (False, "timeout")
    assert result.messages == ("no answer within 1 s; it was stopped",)


def test_a_library_that_does_not_load_is_unavailable(stand_in: StandIn, quantized: Path) -> None:
    stand_in("raise ImportError('libnvinfer.so.11: cannot open shared object file')")
    with pytest.raises(RuntimeUnavailable, match=r"does not load \(libnvinfer.*pip install"):
        compile_onnx(quantized, module="tensorrt", timeout_seconds=60)


def test_a_missing_module_says_how_to_get_it(
    quantized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match="tensorrt_rtx or tensorrt is not installed: pip"):
        compile_onnx(quantized)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compute_capability": "87"}, "compute_capability is '87'; it is NVIDIA's number"),
        ({"compute_capability": "8.75"}, "compute_capability is '8.75'"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0"),
        ({"batches": (0, 1, 8)}, "at least 1, and in order"),
        ({"batches": (1, 9, 8)}, "at least 1, and in order"),
        ({"module": "tensorflow"}, "no compiler 'tensorflow'; allowed: tensorrt_rtx, tensorrt"),
    ],
)
def test_a_mistake_is_found_before_any_work(
    quantized: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageMistake, match=message):
        compile_onnx(quantized, **settings)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nothing\.onnx does not exist"):
        compile_onnx(tmp_path / "nothing.onnx")
