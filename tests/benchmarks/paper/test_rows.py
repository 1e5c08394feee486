from dataclasses import replace

import pytest
import timm
import torch

from benchmarks.paper.rows import FAMILIES, POSTER_MNIST, ROWS
from cake_edge.distill_config import DISTILL_PRESETS
from cake_edge.samplers import SAMPLERS, CakeConfig


@pytest.mark.parametrize("name", ROWS)
def test_a_row_can_be_run(name):
    row = ROWS[name]
    assert timm.is_model(row.teacher.name)
    assert timm.is_model(row.student.name)
    assert row.sampler.name in SAMPLERS
    assert type(row.sampler) is SAMPLERS[row.sampler.name]
    assert row.images > 0
    assert name.startswith(row.dataset)


def test_every_family_teaches_every_family():
    pairs = {(teacher, student) for teacher in FAMILIES for student in FAMILIES}
    assert len(pairs) == 16
    assert POSTER_MNIST.keys() == pairs
    assert {f"fashion-mnist-{teacher}-{student}" for teacher, student in pairs} <= ROWS.keys()
    for teacher, student in pairs:
        row = ROWS[f"fashion-mnist-{teacher}-{student}"]
        assert row.teacher == FAMILIES[teacher][0]
        assert row.student == FAMILIES[student][1]


def test_published_figures_are_percent_with_their_source():
    figures = [figure for row in ROWS.values() for figure in row.published]
    assert len(figures) >= 19
    for figure in figures:
        assert 10 < figure.student < 100
        assert figure.source


def test_no_setting_was_chosen_for_one_pair():
    """But for the length and the number of images, which hang on the student's family alone."""
    across = [ROWS[f"fashion-mnist-{a}-{b}"] for a in FAMILIES for b in FAMILIES]
    alike = {(str(r.sampler), str(replace(r.training, steps=1))) for r in across}
    assert len(alike) == 1
    sizes = {(row.student.name, row.training.steps, row.images) for row in across}
    assert len(sizes) == len(FAMILIES)


NETWORKS = {
    "cifar10-resnet34": (10, 32, 21_282_122, 11_173_962),
    "imagenet-lite0": (1000, 224, 4_652_008, 1_968_680),
}
"Classes, pixels a side, weights of the teacher and of the student."


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_of_a_large_row_are_built_and_answer(name):
    classes, side, *wanted = NETWORKS[name]
    row, found = ROWS[name], []
    for network in (row.teacher, row.student):
        made = timm.create_model(network.name, num_classes=classes, **network.arguments).eval()
        with torch.no_grad():
            assert made(torch.zeros(1, 3, side, side)).shape == (1, classes)
        found.append(sum(parameter.numel() for parameter in made.parameters()))
    assert found == wanted


def test_the_student_of_lite0_has_at_most_two_million_weights():
    assert NETWORKS["imagenet-lite0"][3] <= 2_000_000


def test_a_missing_device_is_decided_when_it_is_asked_for(monkeypatch):
    row = ROWS["cifar10-resnet34"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert row.needs == "a CUDA device"
    assert ROWS["fashion-mnist-lenet5"].needs is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert row.needs is None


def test_rows_of_a_device_have_the_settings_of_all_others():
    for name in NETWORKS:
        row, standard = ROWS[name], DISTILL_PRESETS["cake"]
        assert row.device == "cuda"
        assert row.sampler.statistics == 0
        assert replace(row.sampler, stored="float16") == CakeConfig()
        alike = {"steps": standard.steps, "precision": "float32", "match": standard.match}
        assert replace(row.training, **alike) == standard


def test_a_row_whose_goal_is_without_batch_norm_terms_has_none():
    asked = [row for row in ROWS.values() if "without BatchNorm terms" in row.goal]
    assert asked
    assert not any(row.training.match or row.sampler.statistics for row in asked)
