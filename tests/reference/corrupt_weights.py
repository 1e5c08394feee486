"""Small files of weights, and of those the hostile ones."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  # writes the beginning of an old checkpoint
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from reference.corrupt import (
    rezipped,
)
from reference.hostile import (
    hostile_pickles,
    hostile_zips,
)
from torch import nn

from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.qat.checkpoint import load_qat, save_qat
from cake_edge.qat.config import QatConfig
from cake_edge.qat.convert import fake_quantized
from cake_edge.seeding import generator
from cake_edge.settings import settings_to_dict
from cake_edge.spec import ImageSpec
from cake_edge.teachers import TeacherConfig, load_teacher

__all__ = [
    "CPU",
    "FACTORY",
    "SPEC",
    "check_answers",
    "hostile_legacy",
    "hostile_zip",
    "make_legacy",
    "make_own",
    "make_qat",
    "make_safetensors",
    "make_zip",
    "read_and_die",
    "read_naively",
    "read_own",
    "read_qat",
    "teacher_reader",
    "tiny",
    "tiny_state",
]

CPU = torch.device("cpu")

SPEC = ImageSpec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4)

SMALL: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4], "stem_width": 4}

FACTORY = "reference.corrupt_weights:tiny"

LEGACY: tuple[Any, ...] = (
    0x1950A86A20F9469CFC6C,
    1001,
    {"protocol_version": 1001, "little_endian": True},
)
"""What torch wrote first until 1.6: a number, a version, and of what machine the bytes are."""


def tiny() -> nn.Module:
    """A classifier of 3-channel images in four classes, of 130 weights, always the same."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
    )
    random = generator(0, "tiny")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-1, 1, generator=random)
    return network.eval()


def teacher_reader(name: str, **about: Any) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        about.setdefault("input_size", (3, 8, 8))
        config = TeacherConfig(reference=str(folder / name), preset="inception", **about)
        teacher = load_teacher(config, device=CPU)
        check_answers(teacher)

    return read


def check_answers(teacher: Any) -> None:
    with torch.no_grad():
        logits = teacher(torch.zeros(2, *teacher.spec.input_size))
    if not torch.isfinite(logits).all():
        raise AssertionError("the logits are not finite")


def tiny_state() -> dict[str, torch.Tensor]:
    return tiny().state_dict()


def make_safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(tiny_state(), folder / "w.safetensors")


def make_own(folder: Path) -> None:
    network = build_network("test_resnet", channels=1, classes=4, arguments=SMALL)
    spec = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,), classes=4)
    about = Checkpoint(architecture="test_resnet", arguments=SMALL, spec=spec)
    save_checkpoint(folder / "own.safetensors", network, about)


def read_own(folder: Path) -> None:
    config = TeacherConfig(reference=str(folder / "own.safetensors"))
    check_answers(load_teacher(config, device=CPU))


def make_zip(folder: Path) -> None:
    torch.save({"state_dict": tiny_state(), "epoch": 3}, folder / "w.pth")


def make_legacy(folder: Path) -> None:
    torch.save({"model": tiny_state()}, folder / "w.pth", _use_new_zipfile_serialization=False)


def hostile_zip(folder: Path) -> dict[str, Any]:
    valid = (folder / "w.pth").read_bytes()
    found = {k: {"w.pth": v} for k, v in hostile_zips(valid, "data.pkl").items()}
    for name, content in hostile_pickles().items():
        changed = rezipped(valid, lambda n, c, x=content: x if n.endswith("data.pkl") else c)
        found[f"pickle: {name}"] = {"w.pth": changed}
    return found


def hostile_legacy(folder: Path) -> dict[str, Any]:
    head = b"".join(pickle.dumps(each, 2) for each in LEGACY)
    found = {}
    for name, content in hostile_pickles().items():
        found[name] = {"w.pth": content}
        found[f"behind a right beginning: {name}"] = {"w.pth": head + content + b"\x80\x02]."}
    return found


def make_qat(folder: Path) -> None:
    network = build_network("test_resnet", channels=3, classes=4, arguments=SMALL)
    images = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    bits = fake_quantized(network.eval(), images, weight_bits=4, activation_bits=4).network
    about = Checkpoint(
        architecture="test_resnet",
        arguments=SMALL,
        spec=SPEC,
        manifest={"config": settings_to_dict(QatConfig())},
    )
    save_qat(folder / "q.safetensors", bits, about)


def read_qat(folder: Path) -> None:
    network, about = load_qat(folder / "q.safetensors")
    with torch.no_grad():
        network(torch.zeros(1, *about.spec.input_size))


def read_naively(folder: Path) -> None:
    torch.load(folder / "w.pth", weights_only=False)


def read_and_die(folder: Path) -> None:
    if (folder / "w.pth").read_bytes()[:2] != b"PK":
        os.abort()
