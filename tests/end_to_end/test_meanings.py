"""A whole run of a teacher whose answer, or colours, or classes, are not the usual."""

import dataclasses

import numpy as np
import pytest
import torch

from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.distill import DistillConfig
from cake_edge.networks import build_network
from cake_edge.pipeline import run_recipe
from cake_edge.recipe import EvaluationConfig, Recipe, SynthesisConfig
from cake_edge.samplers import CakeConfig
from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig
from cake_edge.teachers.config import TeacherConfig
from exporters.latency.harness import LatencyConfig
from exporters.quantize import QuantizeConfig
from exporters.runtimes import read_card

SPEC = ImageSpec(
    channels=3, height=32, width=32, mean=(0.3, 0.4, 0.5), std=(0.2,) * 3, classes=4,
    labels=("ant", "bee", "cat", "dog"),
)  # fmt: skip


@pytest.fixture
def finished(tmp_path):
    """Runs all stages with a random teacher of that spec; gives the folder and the report."""

    def finished(spec, **chosen):
        teacher, photos = tmp_path / "teacher.safetensors", tmp_path / "photos.npz"
        network = build_network("test_resnet", channels=3, classes=4, seed=1)
        save_checkpoint(teacher, network, Checkpoint(architecture="test_resnet", spec=spec))
        images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
        np.savez(photos, images=images, labels=np.arange(12) % 4)
        recipe = Recipe(
            name="meanings",
            teacher=TeacherConfig(reference=str(teacher), **chosen),
            synthesis=SynthesisConfig(
                sampler="cake", count=32,
                settings=CakeConfig(steps=2, snapshots=1, oversample=1, images_per_shard=32),
            ),
            student=StudentConfig(name="test_resnet"),
            distill=DistillConfig(steps=2, batch=4),
            quantize=QuantizeConfig(images=32),
            targets=("ort-x86",),
            evaluation=EvaluationConfig(data=str(photos)),
            bench=LatencyConfig(min_seconds=0.02, min_count=5, warmup_seconds=0.0),
        )  # fmt: skip
        out = tmp_path / "run"
        return out, run_recipe(recipe, out, device=torch.device("cpu"))

    return finished


@pytest.mark.slow
def test_some_classes_of_a_teacher_that_wants_blue_first(finished):
    out, report = finished(
        dataclasses.replace(SPEC, colour="bgr"), classes=("dog", "bee"), other=True
    )
    _, student, quantized = report["models"]
    assert report["pool"]["labels"] == ["dog", "bee", "other"]
    assert len(report["pool"]["class_histogram"]) == 3
    assert [model["n"] for model in report["models"]] == [12, 12, 12]
    assert "overlap" not in student
    _, about = load_checkpoint(out / "student" / "student.safetensors")
    card = read_card(out / quantized["path"])
    for spec in (about.spec, card.spec):
        assert (spec.colour, spec.source_classes) == ("bgr", (3, 1, -1))
        assert spec.labels == ("dog", "bee", "other")
    assert report["distill"]["inherited"] > 10


@pytest.mark.slow
def test_labels_that_do_not_exclude_each_other(finished):
    out, report = finished(dataclasses.replace(SPEC, head="sigmoid"))
    teacher, student, quantized = report["models"]
    assert teacher["agreement"] == teacher["overlap"] == 100.0
    assert student["overlap"] <= 100.0
    assert read_card(out / quantized["path"]).spec.head == "sigmoid"
    assert 0.9 < report["quantize"]["ort-x86"]["parity"]["top1_agreement"] <= 1
