"""Images in a device's memory: copied once, waited for in each call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from reference.fake_onnxruntime import FakeBinding, FakeBuild, NewSession, OldSession, pretend

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.runtimes import OrtSession
from exporters.runtimes.ort import open_inference_session, session_options
from exporters.runtimes.ort_device import OnDevice

IMAGES = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)
CUDA = "CUDAExecutionProvider"


def test_what_is_pretended_of_onnx_runtime_is_there() -> None:
    tells = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
    for fake, real in (
        (NewSession if tells else OldSession, onnxruntime.InferenceSession),
        (FakeBinding, onnxruntime.IOBinding),
    ):
        names = {name for name in dir(fake) if not name.startswith("_")} - {"build"}
        assert names <= set(dir(real))
    assert hasattr(onnxruntime.OrtValue, "ortvalue_from_numpy")


def test_a_real_binding_gives_the_logits_of_the_images_it_was_made_with(pooled: Path) -> None:
    session = open_inference_session(str(pooled), session_options(), what="it")
    resident = OnDevice(
        session, IMAGES, input_name="input", output_name="logits", memory="cpu", device_id=0
    )
    for _ in range(3):
        np.testing.assert_allclose(resident.infer(IMAGES[:1]), IMAGES.mean(axis=(2, 3)))
    assert resident.describe() == {"images": "memory of cpu:0"}


def test_images_are_copied_once_to_the_device_that_was_chosen(
    pooled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = pretend(monkeypatch, FakeBuild(CUDA))
    with OrtSession(
        pooled, fixed_batch=2, provider="cuda", provider_options={"device_id": "1"}
    ) as session:
        resident = session.on_device(IMAGES)
        assert set(build.copies) == {("cuda", 1)}
        copies, waits = len(build.copies), build.waits
        for _ in range(3):
            np.testing.assert_allclose(resident.infer(IMAGES), IMAGES.mean(axis=(2, 3)))
        assert (len(build.copies), build.waits) == (copies, waits + 3)
        assert session.describe()["images"] == "host memory"
        assert {**session.describe(), **resident.describe()}["images"] == "memory of cuda:1"


def test_where_there_is_no_such_memory_it_is_wrong_usage(
    pooled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OrtSession(pooled) as session:
        with pytest.raises(UsageMistake, match="provider cpu has no memory of its own"):
            session.on_device(IMAGES)
        with pytest.raises(ArtifactError, match="takes float32"):
            session.on_device(IMAGES[0])
    pretend(monkeypatch, FakeBuild(CUDA, takes=["Flatten"]))
    with (
        OrtSession(pooled, provider="cuda", allow_fallback=True) as session,
        pytest.raises(UsageMistake, match="provider cuda did not take all nodes"),
    ):
        session.on_device(IMAGES)
