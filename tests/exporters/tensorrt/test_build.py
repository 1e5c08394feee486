"""An engine is built once, kept, told of in a manifest, and refused with a reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.fake_tensorrt import VERSIONS, fake_machine

from cake_edge.errors import (
    ArtifactError,
    DeviceUnavailable,
    OutputExists,
    RuntimeUnavailable,
    UsageMistake,
)
from exporters.artifact import ModelCard
from exporters.tensorrt import EngineConfig, cached_engine, engine_from_onnx, read_manifest

StandIn = Callable[[str], None]


@pytest.mark.usefixtures("needs_compiler")
def test_nvidias_compiler_builds_keeps_and_tells(quantized: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "a" / "model.engine", tmp_path / "cache"
    report = engine_from_onnx(quantized, out, cache=cache, module="tensorrt_rtx")
    assert report.path == out
    assert not report.cached
    assert out.stat().st_size == report.manifest.engine["bytes"] > 1000
    assert read_manifest(out) == report.manifest
    told = report.manifest.to_dict()
    assert told == json.loads((tmp_path / "a" / "model.engine.json").read_text())
    assert told["coverage"]["int8"] == {"Conv": 1}
    assert told["layers"]["precisions"]["int8"] == 1
    assert told["profile"] == {"x": [[1, 3, 16, 16], [1, 3, 16, 16], [8, 3, 16, 16]]}
    assert (told["typing"], told["compute_capability"]) == ("strong", "8.0 and later")
    assert told["card"] is None
    again = engine_from_onnx(
        quantized, tmp_path / "again.engine", cache=cache, module="tensorrt_rtx"
    )
    assert again.cached
    assert again.path.read_bytes() == out.read_bytes()
    assert again.manifest == report.manifest


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_for_the_gpu_at_hand(
    version: str, float_file: Path, card: ModelCard, tmp_path: Path, monkeypatch: Any
) -> None:
    fake_machine(monkeypatch, version)
    out = tmp_path / "model.engine"
    manifest = engine_from_onnx(float_file, out, module="tensorrt").manifest
    assert (manifest.version, manifest.compute_capability) == (version, "present")
    assert manifest.gpu is not None
    assert manifest.gpu["name"] == "Orin"
    assert manifest.model_card() == card
    assert manifest.layers is not None
    assert manifest.layers["layers"] > 10
    assert json.loads(out.read_bytes())["version"] == version


def test_what_shapes_an_engine_is_in_its_name(
    float_file: Path, quantized: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def cached(path: Path, **settings: Any) -> bool:
        return cached_engine(
            path, EngineConfig(**settings), module="tensorrt", cache=tmp_path
        ).cached

    fake_machine(monkeypatch, "10.3.0")
    assert not cached(float_file)
    assert cached(float_file)
    assert not cached(quantized)
    assert not cached(float_file, batches=(1, 1, 1))
    assert not cached(float_file, tf32=False)
    assert cached(float_file, timing_cache=tmp_path / "timing")
    fake_machine(monkeypatch, "10.13.3.9.post1")
    assert not cached(float_file)


def test_a_damaged_engine_in_the_cache_is_built_again(
    float_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    fake_machine(monkeypatch, "10.3.0")
    first = cached_engine(float_file, module="tensorrt", cache=tmp_path)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1])
    again = cached_engine(float_file, module="tensorrt", cache=tmp_path)
    assert (again.cached, again.path) == (False, first.path)
    assert again.path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == [first.path.parent.name]


def test_the_cache_is_where_the_desktop_wants_it(
    float_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    fake_machine(monkeypatch, "10.3.0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    report = cached_engine(float_file, module="tensorrt")
    assert report.path.is_relative_to(tmp_path / "xdg" / "cake-edge" / "engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    report = cached_engine(float_file, module="tensorrt")
    assert report.path.is_relative_to(tmp_path / ".cache" / "cake-edge" / "engines")
    caplog.set_level(logging.INFO, logger="exporters")
    assert cached_engine(float_file, module="tensorrt").cached
    assert "was built before" in caplog.text


def test_measured_times_are_kept_for_the_next_build(
    float_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    fake_machine(monkeypatch, "10.3.0")
    timing = tmp_path / "deep" / "timing.cache"
    for number, batch in enumerate((1, 2)):
        engine_from_onnx(
            float_file,
            tmp_path / f"{batch}.engine",
            EngineConfig(batches=(batch,) * 3, timing_cache=timing),
            module="tensorrt",
        )
        assert timing.read_bytes() == b"timed" + b"+" * (number + 1)


def test_nothing_is_overwritten(quantized: Path, tmp_path: Path) -> None:
    for taken in ("a.engine", "b.engine.json"):
        (tmp_path / taken).write_bytes(b"mine")
        out = tmp_path / taken.removesuffix(".json")
        with pytest.raises(OutputExists):
            engine_from_onnx(quantized, out)
        assert (tmp_path / taken).read_bytes() == b"mine"


def test_without_a_gpu_tensorrt_is_not_started(
    quantized: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    fake_machine(monkeypatch, "10.3.0", gpu=False)
    with pytest.raises(DeviceUnavailable, match=r"no CUDA driver answers here; build on the bo"):
        engine_from_onnx(quantized, tmp_path / "x.engine", module="tensorrt")


@pytest.mark.usefixtures("needs_compiler")
def test_a_refusal_says_why_and_what_mends(quantized: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    model = onnx.load(quantized)
    model.graph.node.append(helper.make_node("Det", ["x"], ["det"], name="determinant"))
    onnx.save(model, quantized)
    with pytest.raises(
        ArtifactError, match=r"does not take .*Det 'determinant': this operator.*cake-edge lint"
    ):
        engine_from_onnx(quantized, tmp_path / "x.engine", module="tensorrt_rtx")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.usefixtures("needs_compiler")
def test_what_the_version_does_not_have_is_a_mistake(quantized: Path, tmp_path: Path) -> None:
    for settings, message in (
        ({"precision": "fp16"}, "computes in the types that the file says and no other"),
        ({"dla_core": 0}, "drives 0 DLA cores"),
        ({"compute_capability": "6.1"}, "builds nothing for compute capability 6.1"),
    ):
        with pytest.raises(UsageMistake, match=message):
            engine_from_onnx(
                quantized,
                tmp_path / "x.engine",
                EngineConfig(**settings),  # type: ignore[arg-type]
                module="tensorrt_rtx",
            )


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("import os\nos.abort()", ArtifactError, "does not come up: .*SIGABRT"),
        ("raise ImportError('no libnvinfer')", RuntimeUnavailable, "no libnvinfer.*pip install"),
        ("import time\ntime.sleep(60)", ArtifactError, "no answer within 1 s"),
    ],
)
def test_a_library_that_breaks_is_told_of(
    stand_in: StandIn, quantized: Path, tmp_path: Path, source: str, error: Any, message: str
) -> None:
    stand_in(source)
    from exporters.tensorrt import probe_tensorrt

    if error is RuntimeUnavailable:
        with pytest.raises(error, match=message):
            engine_from_onnx(quantized, tmp_path / "x.engine", module="tensorrt")
        return
    timeout = 1 if "sleep" in source else 60
    found = probe_tensorrt("tensorrt", timeout_seconds=timeout)
    assert (found.loads, found.runs) == (False, False)
    assert found.reason
    if "abort" in source:
        with pytest.raises(error, match=message):
            engine_from_onnx(quantized, tmp_path / "x.engine", module="tensorrt")


def test_a_time_limit_must_make_sense(quantized: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="timeout_seconds is 0"):
        engine_from_onnx(quantized, tmp_path / "x.engine", timeout_seconds=0)
