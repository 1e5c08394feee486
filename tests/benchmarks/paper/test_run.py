import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from benchmarks.paper import run
from benchmarks.paper.rows import ROWS
from cake_edge.errors import DeviceUnavailable, OutputExists

NAME = "fashion-mnist-lenet5"
"""Of the fixture `small`."""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where results go; the data that a row wants is taken to be there."""
    monkeypatch.setattr(run, "KEPT", tmp_path / "results")
    monkeypatch.setattr(run, "absent", lambda dataset, *, trained: None)
    return tmp_path / "results"


def made(small, tmp_path, row=None, place="a", workers=1):
    return run.measured(
        row or small.row, small.teacher, tmp_path / place, tmp_path,
        seed=0, workers=workers,
    )  # fmt: skip


def ran(*words):
    return CliRunner().invoke(run.main, [*words, "--seeds", "0", "--workers", "1"])


def test_a_row_without_its_device_is_named_and_the_others_go_on(
    small, results, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = ran("cifar10-resnet34", "imagenet-lite0", NAME, "--out", str(tmp_path / "runs"))
    assert done.exit_code == 0, done.output
    for name in ("cifar10-resnet34", "imagenet-lite0"):
        assert f"{name}: not measured, it needs a CUDA device" in done.output
    assert [path.name for path in sorted(results.glob("*.json"))] == [f"{NAME}.json"]


def test_results_name_the_device_and_what_was_evaluated_on(small, results, tmp_path):
    assert ran(NAME, "--out", str(tmp_path / "runs")).exit_code == 0
    said = json.loads((results / f"{NAME}.json").read_text())
    assert said["measured"]["0"]["device"] == "cpu"
    assert said["evaluated_on"] == "the 10 000 test images"


def test_seeds_measured_before_stay_in_the_results(small, results, tmp_path):
    for seeds in ("1", "0"):
        done = CliRunner().invoke(
            run.main, [NAME, "--seeds", seeds, "--workers", "1", "--out", str(tmp_path / "runs")]
        )
        assert done.exit_code == 0, done.output
    said = json.loads((results / f"{NAME}.json").read_text())
    assert list(said["measured"]) == ["0", "1"]
    assert said["summary"]["seeds"] == 2
    assert said["kept"]["seed"] == 0
    assert "0,1" in said["command"]


def test_every_seed_has_a_teacher_of_its_own_where_one_is_trained(tmp_path, monkeypatch):
    asked = []

    def trained_teacher(dataset, name, arguments, path, *, device, seed):
        asked.append((path.name, seed))

    monkeypatch.setattr(run, "trained_teacher", trained_teacher)
    monkeypatch.setitem(run.VENDORS, "cake_resnet20", lambda: torch.nn.Identity())
    for name in (NAME, "cifar10-resnet20"):
        for seed in (0, 2):
            run.teacher_of(ROWS[name], tmp_path, seed)
    assert asked == [("cake_lenet5.safetensors", 0), ("cake_lenet5-seed2.safetensors", 2)]


def test_a_row_asks_for_the_teacher_of_every_seed(small, results, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        run, "teacher_of", lambda row, out, seed: asked.append(seed) or small.teacher
    )
    for seeds in ("0,1", "2"):
        done = CliRunner().invoke(
            run.main, [NAME, "--seeds", seeds, "--workers", "1", "--out", str(tmp_path / "runs")]
        )
        assert done.exit_code == 0, done.output
    # Those measured before are asked for again, to see whether what was measured is of theirs.
    assert asked == [0, 1, 0, 1, 2]


def test_the_images_that_a_row_lacks_are_named(tmp_path, monkeypatch):
    asked = []

    def absent(dataset, *, trained):
        asked.append((dataset, trained))
        return "train.npz"

    monkeypatch.setattr(run, "absent", absent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    done = ran("cifar10-resnet34", "cifar10-resnet20", "--out", str(tmp_path))
    assert done.exit_code == 0
    assert "cifar10-resnet34: not measured, it needs train.npz" in done.output
    assert asked == [("cifar10", True), ("cifar10", False)]


def test_a_teacher_is_not_put_on_a_device_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="no CUDA device"):
        run.teacher_of(ROWS["cifar10-resnet34"], tmp_path)


def test_a_student_is_made_once_and_then_read(small, tmp_path):
    first = made(small, tmp_path)
    assert made(small, tmp_path) == first
    assert len(small.trained) == 1
    assert first["images"] == 20
    assert first["views"] == 2 * 8
    assert first["n"] == 40
    assert 0 <= first["agreement"] <= 100


def test_a_student_of_other_settings_is_not_taken_for_this_one(small, tmp_path):
    made(small, tmp_path)
    other = replace(small.row, training=replace(small.row.training, steps=3))
    with pytest.raises(OutputExists, match=r"different: training\).*another --out"):
        made(small, tmp_path, other)


def test_students_of_one_pool_have_its_seconds_though_it_was_made_for_the_first(small, tmp_path):
    first = made(small, tmp_path)
    other = replace(small.row, training=replace(small.row.training, steps=3))
    second = made(small, tmp_path, other, place="b")
    assert first["synthesis_seconds"] == second["synthesis_seconds"]
    assert first["views"] != second["views"]
