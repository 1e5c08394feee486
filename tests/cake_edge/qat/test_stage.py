"""The stage writes a file once, and knows it again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cake_edge.errors import OutputExists, PoolError, UsageMistake
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.qat.checkpoint import load_qat
from cake_edge.qat.config import QatConfig
from cake_edge.qat.stage import write_low_bit
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher

RGB = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.2,) * 3, classes=5)
SHORT = QatConfig(
    steps=2, batch=4, calibration_batches=1, warmup=1, width=4, latent=4, source="generator"
)


@pytest.fixture(scope="module")
def teacher() -> FrozenTeacher:
    network = build_network("test_resnet", channels=3, classes=5, seed=1)
    return FrozenTeacher(network, RGB, architecture="test_resnet")


def test_a_finished_file_is_reported_and_not_made_again(teacher, tmp_path):
    out, twin = tmp_path / "q.safetensors", tmp_path / "twin.safetensors"
    report = write_low_bit(teacher, SHORT, out, seed=3)
    again = write_low_bit(teacher, SHORT, out, seed=3)
    assert {**report, "seconds": None} == again
    write_low_bit(teacher, SHORT, twin, seed=3)
    assert sha256_file(out) == sha256_file(twin)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q.safetensors", "twin.safetensors"]
    network, about = load_qat(out)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 5)
    assert (about.manifest["seed"], about.manifest["teacher"]) == (3, teacher.digest)


def test_a_file_of_other_settings_is_refused_and_left_alone(teacher, tmp_path):
    out = tmp_path / "q.safetensors"
    write_low_bit(teacher, SHORT, out, seed=3)
    before = sha256_file(out)
    with pytest.raises(OutputExists, match=r"different: config, seed"):
        write_low_bit(teacher, replace(SHORT, weight_bits=3), out, seed=4)
    assert sha256_file(out) == before


def test_a_pool_of_another_teacher_and_a_network_timm_cannot_build_are_refused(
    teacher, tiny_teacher, tiny_pool, tmp_path
):
    out = tmp_path / "q.safetensors"
    with pytest.raises(PoolError, match="made by another teacher"):
        write_low_bit(teacher, replace(SHORT, source="both"), out, seed=0, pool=tiny_pool)
    with pytest.raises(UsageMistake, match="timm has no architecture 'tiny'"):
        write_low_bit(tiny_teacher, SHORT, out, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["onnx", "torch.export", "torchscript", "vendor:make"])
def test_a_graph_out_of_a_file_is_refused_with_the_way_on(teacher, tmp_path, architecture):
    graph = FrozenTeacher(teacher.network, RGB, architecture=architecture, source="vendor.onnx")
    with pytest.raises(UsageMistake, match=rf"vendor\.onnx came as {architecture}.*distill"):
        write_low_bit(graph, SHORT, tmp_path / "q.safetensors", seed=0)
