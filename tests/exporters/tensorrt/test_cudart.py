"""The CUDA runtime is found, checked, and every refusal of it is told."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference.fake_cuda import FakeCuda

from cake_edge.errors import DeviceUnavailable, RuntimeUnavailable
from exporters.tensorrt import cudart
from exporters.tensorrt.cudart import SIGNATURES, CudaRuntime, load_cudart
from exporters.tensorrt.driver import find_gpu


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No test finds what another has loaded."""
    load_cudart.cache_clear()
    yield
    load_cudart.cache_clear()


def among(monkeypatch: pytest.MonkeyPatch, *libraries: Any) -> None:
    monkeypatch.setattr(cudart, "_candidates", lambda: iter(libraries))


def test_the_real_runtime_has_every_call_and_says_that_there_is_no_driver() -> None:
    pytest.importorskip("torch")  # loads one, where its wheel is for CUDA
    library = next(cudart._candidates(), None)
    if library is None:
        pytest.skip("no CUDA runtime on this machine")
    assert [name for name in SIGNATURES if not hasattr(library, name)] == []
    if find_gpu() is None:
        with pytest.raises(DeviceUnavailable, match=r"CUDA driver.*run on a machine with an NV"):
            load_cudart()


def test_the_first_that_finds_a_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    too_new, right = FakeCuda(code=35), FakeCuda()
    among(monkeypatch, too_new, FakeCuda(devices=0), right)
    assert load_cudart() is right


def test_what_is_loaded_already_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []

    def record(place: str, mode: int) -> str:
        asked.append((place, mode))
        return place

    monkeypatch.setattr(ctypes, "CDLL", record)
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libcudart.so.12").touch()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = list(cudart._candidates())
    assert found[:4] == list(cudart.NAMES)
    assert all(mode & cudart.os.RTLD_NOLOAD for _, mode in asked[:4])
    assert not any(mode & cudart.os.RTLD_NOLOAD for _, mode in asked[4:])
    assert str(tmp_path / "lib64" / "libcudart.so.12") in found


def test_none_at_all_comes_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    among(monkeypatch)
    with pytest.raises(RuntimeUnavailable, match="pip install nvidia-cuda-runtime"):
        load_cudart()


def test_a_refusal_names_the_call_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    among(monkeypatch, cuda)
    cuda.fails["cudaMalloc"] = 2
    with pytest.raises(DeviceUnavailable, match="cudaMalloc failed: what CUDA says, CUDA error 2"):
        CudaRuntime().allocate(10)


def test_bytes_go_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda()
    among(monkeypatch, fake)
    cuda = CudaRuntime()
    stream, there = cuda.create_stream(), cuda.allocate(4)
    here, back = cuda.allocate_host(4), cuda.allocate_host(4)
    ctypes.memmove(here, b"abcd", 4)
    cuda.copy_to_device(there, here, 4, stream)
    cuda.copy_to_host(back, there, 4, stream)
    assert ctypes.string_at(back, 4) == bytes(4)
    cuda.wait(stream)
    assert ctypes.string_at(back, 4) == b"abcd"
    cuda.free(there)
    cuda.free_host(here)
    cuda.free_host(back)
    cuda.destroy_stream(stream)
    assert fake.leaks == 0
