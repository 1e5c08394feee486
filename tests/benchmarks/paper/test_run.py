import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.paper import run
from benchmarks.paper.rows import ROWS
from cake_edge.errors import DeviceUnavailable

NAME = "fashion-mnist-lenet5"
"""Of the fixture `small`."""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where results go; the data that a row wants is taken to be there."""
    monkeypatch.setattr(run, "KEPT", tmp_path / "results")
    monkeypatch.setattr(run, "absent", lambda dataset, *, trained: None)
    return tmp_path / "results"


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
