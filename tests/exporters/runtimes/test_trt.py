"""An engine runs through the calls of every version, gives what it took back, and tells what it is.

TensorRT and CUDA are stand-ins: the engine gives the mean of each channel, and device memory is
host memory that is counted.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.fake_cuda import FakeCuda
from reference.fake_tensorrt import RTX, VERSIONS, fake_machine

from cake_edge.errors import (
    ArtifactError,
    DeviceUnavailable,
    RuntimeUnavailable,
    UsageMistake,
)
from exporters.artifact import ModelCard
from exporters.runtimes import open_session
from exporters.runtimes.trt import TensorRTSession
from exporters.tensorrt import EngineConfig, engine_from_onnx

Board = Callable[..., FakeCuda]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Board:
    """Makes this process a board with that version, and its cache of engines empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda version="10.3.0", **more: fake_machine(monkeypatch, version, **more)


def engine_of(path: Path, version: str = "10.3.0", **settings: Any) -> Path:
    out = path.with_suffix(".engine")
    module = "tensorrt_rtx" if version == RTX else "tensorrt"
    return engine_from_onnx(path, out, EngineConfig(**settings), module=module).path


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 2, 3, 3), dtype=np.float32)


@pytest.mark.parametrize("version", [*VERSIONS, RTX])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_every_version_infers_and_gives_everything_back(
    version: str, cuda_graph: bool, pooled: Path, board: Board
) -> None:
    cuda = board(version)
    with TensorRTSession(engine_of(pooled, version), cuda_graph=cuda_graph) as session:
        for count, seed in ((1, 0), (1, 1), (8, 2), (3, 3), (8, 4)):
            batch = images(count, seed)
            np.testing.assert_allclose(session.infer(batch), batch.mean((2, 3)), rtol=1e-6)
        assert session.describe()["version"] == version.removeprefix("rtx-")
        assert session.describe()["options"]["context_bytes"] == (
            4096 if version == "8.6.1" else 8192
        )
        assert session.input_shape == (None, 2, 3, 3)
    assert cuda.leaks == 0
    assert ("cudaGraphLaunch" in cuda.calls) == cuda_graph


def test_logits_stay_what_they_were(pooled: Path, board: Board) -> None:
    board()
    with TensorRTSession(engine_of(pooled)) as session:
        first = session.infer(images(2, 0))
        kept = first.copy()
        session.infer(images(2, 1))
        np.testing.assert_array_equal(first, kept)


def test_memory_is_taken_once_for_one_shape(pooled: Path, board: Board) -> None:
    cuda = board()
    with TensorRTSession(engine_of(pooled)) as session:
        for seed in range(5):
            session.infer(images(4, seed))
        session.infer(images(2))
    assert cuda.calls.count("cudaMalloc") == 2
    assert cuda.calls.count("cudaMallocHost") == 2


def test_the_steps_are_timed_by_the_gpu(pooled: Path, board: Board) -> None:
    cuda = board()
    with TensorRTSession(engine_of(pooled)) as session:
        times = session.times(images(1))
    assert (times.to_device, times.compute, times.to_host) == (1.5, 1.5, 1.5)
    assert cuda.leaks == 0


def test_images_on_the_device_are_not_copied_again(pooled: Path, board: Board) -> None:
    cuda = board()
    batch = images(4)
    with TensorRTSession(engine_of(pooled)) as session:
        resident = session.on_device(batch)
        copies = cuda.calls.count("cudaMemcpyAsync")
        waits = cuda.calls.count("cudaStreamSynchronize")
        for _ in range(3):
            np.testing.assert_allclose(resident.infer(batch), batch.mean((2, 3)), rtol=1e-6)
        assert cuda.calls.count("cudaMemcpyAsync") == copies
        assert cuda.calls.count("cudaStreamSynchronize") == waits + 3


def test_an_onnx_file_is_built_once_and_opened(pooled: Path, board: Board, tmp_path: Path) -> None:
    board()
    for _ in range(2):
        with open_session(pooled, runtime="tensorrt", fixed_batch=5) as session:
            assert session.infer(images(5)).shape == (5, 2)
    (engine,) = (tmp_path / "cache").rglob("*.engine")
    assert json.loads(engine.read_bytes())["profile"] == [[5, 2, 3, 3]] * 3


def test_nothing_is_built_where_it_could_not_run(
    pooled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise DeviceUnavailable("no CUDA device answers")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("exporters.runtimes.trt.load_cudart", refuse)
    with pytest.raises(DeviceUnavailable):
        open_session(pooled, runtime="tensorrt")
    assert not (tmp_path / "cache").exists()


def test_the_card_comes_from_the_file_it_was_built_from(
    float_file: Path, card: ModelCard, board: Board, tmp_path: Path
) -> None:
    board()
    out = engine_from_onnx(float_file, tmp_path / "x.engine", module="tensorrt").path
    with TensorRTSession(out) as session:
        assert session.card == card
        assert session.describe()["options"]["gpu"]["name"] == "Orin"
    out.with_name("x.engine.json").unlink()
    with TensorRTSession(out) as session:
        assert session.card is None
        assert session.describe()["options"]["build"] is None


@pytest.mark.parametrize(
    ("settings", "dla_cores"), [({"version_compatible": True}, 0), ({"dla_core": 1}, 2)]
)
def test_what_an_engine_needs_of_the_runtime_is_set(
    settings: dict[str, Any], dla_cores: int, pooled: Path, board: Board
) -> None:
    board(dla_cores=dla_cores)
    with TensorRTSession(engine_of(pooled, **settings)) as session:
        assert session.infer(images(1)).shape == (1, 2)


def test_an_engine_of_another_version_is_refused_before_it_is_opened(
    pooled: Path, board: Board
) -> None:
    board("10.3.0")
    path = engine_of(pooled)
    board("10.13.3.9.post1")
    with pytest.raises(ArtifactError, match=r"was built with tensorrt 10\.3\.0, and this is 10"):
        TensorRTSession(path)


def test_an_engine_that_does_not_open_says_why(board: Board, tmp_path: Path) -> None:
    cuda = board()
    path = tmp_path / "bad.engine"
    path.write_bytes(b"bad")
    with pytest.raises(ArtifactError, match=r"does not open .*Version tag does not match"):
        TensorRTSession(path)
    assert cuda.leaks == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((9, 2, 3, 3), np.float32), r"takes \[1, 2, 3, 3\] to \[8, 2, 3, 3\]"),
        (np.zeros((1, 2, 4, 3), np.float32), r"was given \[1, 2, 4, 3\]; build it for"),
        (np.zeros((1, 2, 3, 3), np.float64), "was given float64"),
        (np.zeros((2, 3, 3), np.float32), "was given float32 of shape"),
        (np.zeros((0, 2, 3, 3), np.float32), r"of shape \[0, 2, 3, 3\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    given: np.ndarray, message: str, pooled: Path, board: Board
) -> None:
    board()
    with TensorRTSession(engine_of(pooled)) as session:
        with pytest.raises(ArtifactError, match=message):
            session.infer(given)
        assert session.infer(images(1)).shape == (1, 2)


def test_what_is_no_classifier_is_refused(
    write_model: Callable[..., Path], board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import helper

    cuda = board()
    node = helper.make_node("Relu", ["input"], ["logits"])
    flat = write_model([node], given=("batch", 6), got=("batch", 6))
    with pytest.raises(ArtifactError, match=r"takes \[batch, C, H, W\] and gives"):
        TensorRTSession(engine_of(flat))
    assert cuda.leaks == 0
    import tensorrt

    monkeypatch.setattr(tensorrt.ICudaEngine, "num_io_tensors", 1)
    with pytest.raises(ArtifactError, match="has 1 inputs and 0 outputs"):
        TensorRTSession(flat.with_suffix(".engine"))
    assert cuda.leaks == 0


def test_a_type_that_numpy_lacks_is_named(
    pooled: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board()
    path = engine_of(pooled)
    import tensorrt

    def bf16(self: Any, name: str) -> Any:
        return tensorrt.DataType.BF16

    monkeypatch.setattr(tensorrt.ICudaEngine, "get_tensor_dtype", bf16)
    with pytest.raises(ArtifactError, match="'input' of type BF16, which numpy does not have"):
        TensorRTSession(path)


def test_a_gpu_that_fails_is_told_of(pooled: Path, board: Board) -> None:
    cuda = board()
    with TensorRTSession(engine_of(pooled)) as session:
        cuda.fails["cudaMemcpyAsync"] = 700
        with pytest.raises(DeviceUnavailable, match=r"cudaMemcpyAsync failed: .* CUDA error 700"):
            session.infer(images(1))
        cuda.fails.clear()
        assert session.infer(images(1)).shape == (1, 2)
    assert cuda.leaks == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"fixed_batch": 0}, "fixed_batch is 0"),
        ({"optimise": False}, "an engine is optimised when it is built"),
    ],
)
def test_a_mistake_is_named(
    settings: dict[str, Any], message: str, pooled: Path, board: Board
) -> None:
    board()
    with pytest.raises(UsageMistake, match=message):
        open_session(pooled, runtime="tensorrt", **settings)


def test_a_closed_session_says_so(pooled: Path, board: Board) -> None:
    board()
    session = TensorRTSession(engine_of(pooled))
    with session:
        pass
    with pytest.raises(ArtifactError, match="is closed; open it again"):
        session.infer(images(1))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match=r"nothing\.engine does not exist"):
        TensorRTSession(tmp_path / "nothing.engine")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "some.engine").touch()
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'cake-edge\[tensorrt\]'"):
        TensorRTSession(tmp_path / "some.engine")
