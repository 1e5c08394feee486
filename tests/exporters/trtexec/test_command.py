"""Each version of trtexec gets the flags it knows, and the same things inside its clock."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.tensorrt import EngineConfig
from exporters.trtexec import TrtexecConfig, trtexec_command

REMOVED_IN_11 = ("--fp16", "--int8", "--best", "--stronglyTyped")
NEW_IN_11 = ("--includeDataTransfers", "--noCudaGraph", "--noSpinWait")


def write(path: Path, kind: type, shape: tuple[Any, ...], quantized: bool) -> Path:
    nodes = [helper.make_node("Conv", ["input", "w"], ["c"], name="conv")]
    if quantized:
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s"], ["d"]))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((4, 3, 3, 3), kind), "w"),
         numpy_helper.from_array(np.ones(2, np.int8), "q"),
         numpy_helper.from_array(np.float32(1), "s")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), path)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path / "net.onnx", np.float32, ("batch", 3, 32, 32), False)


def command(path: Path, version: str, engine: dict[str, Any] | None = None, **more: Any) -> str:
    config = TrtexecConfig(engine=EngineConfig(**(engine or {})), **more)
    return " ".join(trtexec_command(path, version, config))


def test_the_whole_command(plain: Path) -> None:
    config = TrtexecConfig(folder=PurePosixPath("out"), batch=4)
    assert trtexec_command(plain, "10.3", config) == [
        "trtexec",
        f"--onnx={plain}",
        "--saveEngine=out/net.engine",
        "--stronglyTyped",
        "--minShapes=input:1x3x32x32",
        "--optShapes=input:1x3x32x32",
        "--maxShapes=input:8x3x32x32",
        "--shapes=input:4x3x32x32",
        "--noDataTransfers",
        "--useCudaGraph",
        "--useSpinWait",
        "--separateProfileRun",
        "--warmUp=500",
        "--duration=10",
        "--iterations=1000",
        "--infStreams=1",
        "--percentile=50,90,95,99",
        "--profilingVerbosity=detailed",
        "--exportTimes=out/times.json",
        "--exportProfile=out/profile.json",
        "--exportLayerInfo=out/layers.json",
    ]


@pytest.mark.parametrize("version", ["8.6", "8.6.2", "10.0", "10.3", "10.13.3", "10.16"])
def test_before_11_the_clock_is_turned_by_its_old_flags(plain: Path, version: str) -> None:
    words = command(plain, version)
    assert "--noDataTransfers --useCudaGraph --useSpinWait" in words
    assert not any(flag in words for flag in NEW_IN_11)
    words = command(plain, version, transfers=True, cuda_graph=False, spin_wait=False)
    assert not any(f in words for f in ("--noDataTransfers", "--useCudaGraph", "--useSpinWait"))


@pytest.mark.parametrize("version", ["11.0", "11.1", "11.4.1"])
def test_from_11_on_by_its_new_ones(plain: Path, version: str) -> None:
    words = command(plain, version)
    assert not any(flag in words for flag in (*NEW_IN_11, *REMOVED_IN_11, "--useCudaGraph"))
    words = command(plain, version, transfers=True, cuda_graph=False, spin_wait=False)
    assert "--includeDataTransfers --noCudaGraph --noSpinWait" in words


@pytest.mark.parametrize(
    ("kind", "quantized", "flags"),
    [
        (np.float32, False, ()),
        (np.float16, False, ("--fp16",)),
        (np.float32, True, ("--int8",)),
        (np.float16, True, ("--fp16", "--int8")),
    ],
)
def test_8_6_gets_the_flags_of_the_types_in_the_file(
    tmp_path: Path, kind: type, quantized: bool, flags: tuple[str, ...]
) -> None:
    path = write(tmp_path / "net.onnx", kind, (1, 3, 32, 32), quantized)
    words = command(path, "8.6").split()
    assert [word for word in words if word in REMOVED_IN_11] == list(flags)
    assert "--stronglyTyped" in command(path, "10.0")
    assert "--fp16" not in command(path, "10.0").split()


def test_fp16_by_the_builders_choice_ends_with_10(plain: Path) -> None:
    words = command(plain, "10.16", {"precision": "fp16"}).split()
    assert "--fp16" in words
    assert "--stronglyTyped" not in words
    with pytest.raises(UsageMistake, match="trtexec 11 computes in the types that the file says"):
        command(plain, "11.0", {"precision": "fp16"})


def test_every_setting_has_its_flag(plain: Path) -> None:
    words = command(
        plain,
        "10.10",
        {
            "tf32": False,
            "workspace_bytes": 3 * 2**19,
            "optimisation_level": 4,
            "timing_cache": Path("t.cache"),
            "dla_core": 1,
            "hardware_compatibility": "same-compute-capability",
            "version_compatible": True,
        },
        warmup_ms=1,
        seconds=2,
        iterations=3,
    )
    for flag in (
        "--noTF32", "--memPoolSize=workspace:1.5M", "--builderOptimizationLevel=4",
        "--timingCacheFile=t.cache", "--useDLACore=1 --allowGPUFallback",
        "--hardwareCompatibilityLevel=sameComputeCapability", "--versionCompatible", "--warmUp=1",
        "--duration=2", "--iterations=3",
    ):  # fmt: skip
        assert f" {flag} " in words
    with pytest.raises(UsageMistake, match=r"which trtexec knows from 10\.10 on"):
        command(plain, "10.3", {"hardware_compatibility": "same-compute-capability"})
    assert "Level=ampere+" in command(plain, "8.6", {"hardware_compatibility": "ampere+"})


def test_a_file_of_one_shape_needs_none(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", np.float32, (2, 3, 32, 32), False)
    assert "hapes=" not in command(path, "10.3")


def test_open_sizes_must_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", np.float32, ("n", 3, "h", "w"), False)
    with pytest.raises(UsageMistake, match=r"leaves axes \[2, 3\] of .* open; state the image's"):
        command(path, "10.3")
    words = command(path, "10.3", {"sizes": ((8, 16), (16, 32), (32, 64))})
    assert "--maxShapes=input:8x3x32x64 --shapes=input:1x3x16x32" in words


@pytest.mark.parametrize("version", ["", "ten", "8.5", "9.1", "7", "10"])
def test_a_version_nobody_knows_is_a_mistake(plain: Path, version: str) -> None:
    with pytest.raises(UsageMistake, match="no trtexec of version"):
        command(plain, version)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"batch": 9}, "batch is 9, and the engine is for 1 to 8 images"),
        ({"seconds": 0}, "seconds is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"warmup_ms": -1}, "warmup_ms is -1"),
        ({"engine": {"compute_capability": "8.7"}}, "builds for the GPU that it runs on"),
    ],
)
def test_a_mistake_is_named(plain: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageMistake, match=message):
        command(plain, "10.3", **settings)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        trtexec_command(tmp_path / "missing.onnx", "10.3")
