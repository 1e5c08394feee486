"""A file of whole numbers opens as the network that was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.errors import ArtifactError
from cake_edge.qat.checkpoint import ORIGINAL, load_qat, read_qat_header, save_qat
from cake_edge.qat.config import QatConfig
from cake_edge.qat.convert import fake_quantized
from cake_edge.qat.ranges import calibrate
from cake_edge.spec import ImageSpec

RGB = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.2,) * 3, classes=5)
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def header(name: str, **more: object) -> Checkpoint:
    config = asdict(QatConfig(weight_bits=4, activation_bits=3))
    arguments = {"img_size": 32} if "vit" in name else {}
    return Checkpoint(architecture=name, arguments=arguments, spec=RGB,
                      manifest={"config": config, "seed": 0, **more})  # fmt: skip


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_what_is_read_answers_as_what_was_written(build, tmp_path, name):
    network = fake_quantized(build(name), IMAGES, weight_bits=4, activation_bits=3).network
    calibrate(network, [IMAGES], "least-error")
    path = tmp_path / "q.safetensors"
    save_qat(path, network, header(name))
    read, about = load_qat(path)
    assert about == header(name)
    with torch.no_grad():
        assert torch.equal(read(IMAGES), network(IMAGES))
    weights = {n: t for n, t in load_file(path).items() if n.endswith(ORIGINAL)}
    assert weights
    assert all(t.dtype == torch.int8 for t in weights.values())
    inner = [t for n, t in weights.items() if t.abs().max() <= 7]
    assert len(inner) == len(weights) - 2


def damaged(path: Path, fault: str) -> Path:
    if fault == "missing":
        return path.with_name("nowhere.safetensors")
    if fault == "garbage":
        path.write_bytes(b"not a file of weights")
        return path
    if fault == "float":
        save_checkpoint(path, torch.nn.Linear(1, 1), header("test_resnet"))
        return path
    about = header("test_resnet" if fault != "architecture" else "no_such_network")
    if fault == "config":
        about = Checkpoint(architecture="test_resnet", spec=RGB, manifest={})
    save_qat(path, torch.nn.Linear(1, 1), about)
    if fault == "header":
        save_file({"a": torch.zeros(1)}, path, metadata={"cake_edge_qat": "{}"})
    return path


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "does not exist"),
        ("garbage", "not a readable safetensors file"),
        ("float", "not a fake-quantized network"),
        ("header", "the header of .* is damaged"),
        ("config", "cannot be built"),
        ("architecture", "cannot be built"),
        ("weights", "do not fit test_resnet"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, fault, message):
    with pytest.raises(ArtifactError, match=message):
        load_qat(damaged(tmp_path / "q.safetensors", fault))


def test_a_format_of_the_future_is_refused(tmp_path):
    path = tmp_path / "q.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"cake_edge_qat": '{"format": 99}'})
    with pytest.raises(ArtifactError, match="format 99"):
        read_qat_header(path)
