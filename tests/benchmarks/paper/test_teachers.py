import numpy as np
import pytest
import torch

from benchmarks.paper import teachers
from benchmarks.paper.networks import ResNet20
from cake_edge.checkpoint import load_checkpoint


@pytest.fixture
def lessons(monkeypatch):
    """Short lessons on a few made-up images; a list that grows by each look at them."""
    looks = []

    def training_set():
        looks.append(len(looks))
        random = np.random.default_rng(0)
        return random.integers(0, 256, (12, 32, 32, 1), np.uint8), np.arange(
            12, dtype=np.uint8
        ) % 10

    monkeypatch.setattr(teachers, "training_set", training_set)
    monkeypatch.setattr(teachers, "EPOCHS", 2)
    monkeypatch.setattr(teachers, "BATCH", 4)
    return looks


def test_a_teacher_is_trained_once_and_then_read(lessons, tmp_path):
    path = tmp_path / "teacher.safetensors"
    first = teachers.fashion_mnist_teacher("cake_mlp", {"width": 8}, path)
    again = teachers.fashion_mnist_teacher("cake_mlp", {"width": 8}, path)
    assert len(lessons) == 1
    assert first.digest == again.digest
    assert first.spec == teachers.FASHION_MNIST
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first(images), again(images))
    _, about = load_checkpoint(path)
    assert about.manifest["epochs"] == 2
    assert about.arguments == {"width": 8}


def test_a_seed_gives_the_same_teacher_and_another_gives_another(lessons, tmp_path):
    digests = [
        teachers.fashion_mnist_teacher("cake_mlp", {"width": 8}, tmp_path / name, seed=seed).digest
        for name, seed in (("a.safetensors", 0), ("b.safetensors", 0), ("c.safetensors", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_vendor_s_network_is_frozen_with_the_vendor_s_weights(tmp_path, monkeypatch):
    vendor = ResNet20()
    torch.save(vendor.state_dict(), tmp_path / "resnet20.th")
    monkeypatch.setattr(teachers, "VENDOR", tmp_path / "resnet20.th")
    teacher = teachers.resnet20_teacher()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), vendor.eval()(images), atol=1e-5, rtol=0)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
