from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from cake_edge.errors import UsageMistake
from exporters.artifact import attach_card
from exporters.runtimes import (
    RUNTIMES,
    OrtTuning,
    open_for_accuracy,
    open_session,
    read_card,
    why_not_here,
)


@pytest.fixture
def made_for(float_file, card, tmp_path):
    """Writes the float network with a card that names a target."""

    def write(target):
        model = onnx.load(float_file)
        attach_card(model, replace(card, precision="int8", target=target))
        path = tmp_path / f"{target}.onnx"
        onnx.save(model, path)
        return path

    return write


def test_every_runtime_opens_a_model_and_names_itself(pooled):
    for name in RUNTIMES.keys() - {"tensorrt"}:  # It needs a GPU, and has tests of its own.
        with open_session(pooled, runtime=name) as session:
            assert session.describe()["runtime"] == name


def test_an_unknown_runtime_is_answered_with_the_known(pooled):
    with pytest.raises(UsageMistake, match="did you mean ort"):
        open_session(pooled, runtime="orrt")


def test_a_graph_can_be_computed_as_it_is_written(pooled):
    for optimise in (True, False):
        with open_session(pooled, optimise=optimise) as session:
            assert session.describe()["options"]["optimise"] is optimise


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_a_target_runs_here_where_its_runtime_and_processor_are(card, monkeypatch, machine):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert why_not_here(None) is None
    assert why_not_here(card) is None
    assert why_not_here(replace(card, target="ort-x86")) is None
    for target in ("ort-arm", "tensorrt", "tensorrt-fp16"):
        said = why_not_here(replace(card, target=target))
        assert said == f"made for {target}, which does not run on this machine"
    assert "does not know" in why_not_here(replace(card, target="from-tomorrow"))


def test_on_another_processor_it_is_the_other_way_round(card, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert why_not_here(replace(card, target="ort-arm")) is None
    assert "ort-x86" in why_not_here(replace(card, target="ort-x86"))


@pytest.mark.parametrize(
    ("target", "runtime", "provider", "foreign"),
    [
        ("any", "ort", "cuda", False),
        ("any", "tensorrt", "cpu", False),
        ("ort-x86", "ort", "cpu", False),
        ("ort-x86", "ort", "openvino", False),
        ("ort-x86", "ort", "cuda", True),
        ("ort-x86", "ort", "tensorrt", True),
        ("ort-w8", "ort", "cuda", False),
        ("ort-arm", "ort", "cpu", True),
        ("ort-arm", "tensorrt", "cpu", True),
        ("tensorrt", "ort", "cpu", True),
        ("tensorrt", "ort", "cuda", True),
        ("tensorrt", "ort", "tensorrt", False),
        ("tensorrt-fp16", "tensorrt", "cpu", False),
    ],
)
def test_a_file_is_for_the_runtime_and_provider_that_its_target_names(
    card, monkeypatch, target, runtime, provider, foreign
):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    said = why_not_here(replace(card, target=target), runtime, provider)
    assert (said is not None) is foreign
    assert said is None or said.startswith(f"made for {target}, which ")
    assert why_not_here(None, runtime, provider) is None


def test_settings_of_onnx_runtime_are_refused_for_another_runtime(pooled):
    settings = ({"provider": "cuda"}, {"allow_fallback": True}, {"provider_options": {"a": "1"}},
                {"tuning": OrtTuning(spinning=True)})  # fmt: skip
    for each in settings:
        with pytest.raises(UsageMistake, match="are ONNX Runtime's, and runtime is 'tensorrt'"):
            open_session(pooled, runtime="tensorrt", **each)
        if "provider_options" not in each and "provider" not in each:
            with open_session(pooled, **each) as session:
                assert session.describe()["runtime"] == "ort"


def test_accuracy_is_that_of_the_deployed_file_or_of_its_rounded_values(
    made_for, float_file, spec, monkeypatch
):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    images = np.zeros((1, *spec.input_size), np.float32)
    for path, optimised in ((float_file, True), (made_for("tensorrt"), False)):
        with open_for_accuracy(path, threads=1) as session:
            assert session.describe()["options"]["optimise"] is optimised
            assert session.infer(images).shape == (1, spec.classes)


def test_a_card_is_read_without_running_the_file(made_for, pooled):
    assert read_card(made_for("tensorrt")).target == "tensorrt"
    assert read_card(pooled) is None


def test_the_device_side_needs_neither_torch_timm_nor_onnx():
    code = (
        "import sys, exporters.artifact, exporters.parity, exporters.runtimes\n"
        "import exporters.runtimes.coverage\n"
        "from cake_edge.spec import ImageSpec\n"
        "from exporters.artifact import ModelCard\n"
        "spec = ImageSpec(channels=1, height=4, width=4, mean=(0.,), std=(1.,), classes=2)\n"
        "card = ModelCard(architecture='a', spec=spec, role='student', parent='0' * 64,\n"
        "    precision='int8', target='tensorrt')\n"
        "assert exporters.runtimes.why_not_here(card)\n"
        "assert not {'torch', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
