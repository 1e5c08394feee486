"""The whole builder runs against the names that each version's bindings really have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from reference.fake_cuda import FakeCuda
from reference.fake_tensorrt import RTX, VERSIONS, fake_tensorrt

from cake_edge.errors import UsageMistake
from exporters.tensorrt.builder import Built, build
from exporters.tensorrt.config import EngineConfig

EVERY = (*VERSIONS, RTX)
BEFORE_11 = [version for version in VERSIONS if int(version.partition(".")[0]) < 11]
FROM_11 = [version for version in EVERY if version not in BEFORE_11]


def write(path: Path, kind: type, shape: tuple[Any, ...] = ("batch", 3, 8, 8)) -> Path:
    """One convolution whose weights are of that type."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), kind), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["out"], name="conv")],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path / "plain.onnx", np.float32)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return write(tmp_path / "half.onnx", np.float16)


def built(version: str, path: Path, dla_cores: int = 0, **settings: Any) -> Built:
    library = fake_tensorrt(version, cuda=FakeCuda(), dla_cores=dla_cores)
    return build(library, str(path), EngineConfig(**settings), inspect=True)


def plan(done: Built) -> dict[str, Any]:
    assert done.messages == []
    assert done.stage == "build"
    found = json.loads(done.engine)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", EVERY)
@pytest.mark.parametrize("kind", ["plain", "half", "quantized"])
def test_every_version_builds_every_kind_of_file(
    version: str, kind: str, request: pytest.FixtureRequest
) -> None:
    done = built(version, request.getfixturevalue(kind), batches=(1, 2, 4))
    flags = {"plain": [], "half": ["FP16"], "quantized": ["INT8"]}[kind]
    assert plan(done)["profile"][1][0] == 2
    if version == "8.6.1":
        assert done.typing == " ".join(["weak", *flags])
        assert set(flags) <= set(plan(done)["flags"])
    else:
        assert done.typing == "strong"
        assert plan(done)["flags"] == ["TF32"]
    assert done.layers is not None
    assert done.layers["precisions"] == {"plain": {"fp32": 1}, "half": {"fp16": 1}}.get(
        kind, {"fp32": 1}
    )


@pytest.mark.parametrize("version", BEFORE_11)
def test_fp16_by_the_builders_choice_is_for_versions_before_11(
    version: str, plain: Path, quantized: Path
) -> None:
    done = built(version, plain, precision="fp16")
    assert (done.typing, plan(done)["flags"]) == ("weak FP16", ["FP16", "TF32"])
    done = built(version, quantized, precision="fp16")
    assert plan(done)["flags"] == ["FP16", "INT8", "TF32"]


@pytest.mark.parametrize("version", FROM_11)
def test_from_11_on_fp16_must_be_in_the_file(version: str, plain: Path) -> None:
    with pytest.raises(UsageMistake, match="computes in the types that the file says"):
        built(version, plain, precision="fp16")


@pytest.mark.parametrize("version", EVERY)
def test_settings_reach_the_builder(version: str, plain: Path) -> None:
    done = built(version, plain, workspace_bytes=2**20, optimisation_level=5, tf32=False,
                 version_compatible=True)  # fmt: skip
    found = plan(done)
    assert found["pools"] == {"WORKSPACE": 2**20}
    assert found["level"] == 5
    assert found["flags"] == ["VERSION_COMPATIBLE"]
    assert done.layers is not None
    assert done.layers["precisions"] == {"fp32": 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_hardware_compatibility_is_asked_for_by_name(version: str, plain: Path) -> None:
    plan(built(version, plain, hardware_compatibility="ampere+"))
    if version in ("8.6.1", "10.3.0"):
        with pytest.raises(UsageMistake, match=r"'same-compute-capability'; allowed: ampere\+$"):
            built(version, plain, hardware_compatibility="same-compute-capability")
    else:
        plan(built(version, plain, hardware_compatibility="same-compute-capability"))


def test_rtx_has_compute_capabilities_instead(plain: Path) -> None:
    with pytest.raises(UsageMistake, match="name a compute capability instead"):
        built(RTX, plain, hardware_compatibility="ampere+")
    assert built(RTX, plain, compute_capability="8.7").compute_capability == "8.6"
    assert built(RTX, plain).compute_capability == "8.0 and later"
    with pytest.raises(UsageMistake, match="tensorrt builds for the GPU of this machine alone"):
        built("10.3.0", plain, compute_capability="8.7")


@pytest.mark.parametrize("version", EVERY)
def test_a_dla_is_used_with_the_gpu_behind_it(version: str, plain: Path) -> None:
    found = plan(built(version, plain, dla_cores=2, dla_core=1))
    assert found["dla"] == 1
    assert "GPU_FALLBACK" in found["flags"]


def test_a_dla_that_is_not_there_is_a_mistake(plain: Path) -> None:
    with pytest.raises(UsageMistake, match="drives 0 DLA cores on this machine"):
        built("10.13.3.9.post1", plain, dla_core=0)


def test_sizes_are_needed_where_the_file_leaves_them_open(tmp_path: Path) -> None:
    path = write(tmp_path / "open.onnx", np.float32, ("batch", 3, "height", "width"))
    done = built("10.3.0", path)
    assert "a profile needs sizes for every dynamic axis" in done.messages[0]
    done = built("10.3.0", path, sizes=((32, 64), (64, 64), (96, 128)))
    assert done.profile == {"input": [[1, 3, 32, 64], [1, 3, 64, 64], [8, 3, 96, 128]]}
    assert plan(done)["profile"] == done.profile["input"]


def test_a_fixed_shape_needs_no_profile(tmp_path: Path) -> None:
    done = built("10.3.0", write(tmp_path / "fixed.onnx", np.float32, (2, 3, 8, 8)))
    assert done.profile == {}
    plan(done)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("stored", "begun_with"), [(b"", 0), (b"timed", 5), (b"of another version", 0)]
)
def test_a_timing_cache_goes_on_where_it_fits(
    version: str, stored: bytes, begun_with: int, plain: Path
) -> None:
    done = build(fake_tensorrt(version), str(plain), EngineConfig(), timing_cache=stored)
    assert plan(done)["timed"] == begun_with
    assert done.timing_cache == b"timed+"


def test_what_measures_nothing_keeps_no_timing_cache(plain: Path) -> None:
    done = build(fake_tensorrt(RTX), str(plain), EngineConfig(), timing_cache=b"")
    assert done.timing_cache is None
    assert plan(done)["timed"] is None


@pytest.mark.parametrize("version", FROM_11)
def test_the_stand_in_lacks_what_11_removed(version: str) -> None:
    library = fake_tensorrt(version)
    for owner, name in (
        (library.BuilderFlag, "FP16"),
        (library.BuilderFlag, "INT8"),
        (library.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
        (library.ICudaEngine(), "device_memory_size"),
        (library.IBuilderConfig(), "int8_calibrator"),
    ):
        with pytest.raises(AttributeError):
            getattr(owner, name)
    with pytest.raises(AttributeError):
        library.IBuilderConfig().int8_calibrator = None
