import json

import numpy as np
import pytest

from benchmarks.paper import check
from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.rows import ROWS
from benchmarks.paper.run import accuracy
from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file, write_json

NAME = "fashion-mnist-mlp-mlp"


def save_student(path, seed):
    network = build_network("cake_mlp", channels=1, classes=10, arguments={"width": 8}, seed=seed)
    about = Checkpoint(architecture="cake_mlp", arguments={"width": 8}, spec=FASHION_MNIST)
    save_checkpoint(path, network, about)


@pytest.fixture
def result(tmp_path, monkeypatch):
    """The result of a row with a student of random weights on forty images."""
    assert NAME in ROWS
    folder = tmp_path / "paper"
    student, test_set = folder / f"{NAME}.safetensors", tmp_path / "test.npz"
    folder.mkdir()
    save_student(student, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), np.uint8)
    np.savez(test_set, images=images, labels=np.arange(40) % 10)
    monkeypatch.setattr(check, "evaluation_set", lambda dataset, place: test_set)
    path = folder / f"{NAME}.json"
    write_json(path, {
        "row": NAME,
        "dataset": "fashion-mnist",
        "kept": {"file": student.name, "seed": 0, "sha256": sha256_file(student)},
        "measured": {"0": {"top1": accuracy(student, test_set)}},
    })  # fmt: skip
    return path


def change(path, *keys, to):
    said = json.loads(path.read_text())
    inner = said
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to(inner[keys[-1]])
    write_json(path, said)


def test_a_student_that_is_as_stated_passes(result, tmp_path):
    assert check.difference(result, tmp_path) is None


def test_another_student_under_the_same_name_is_noticed(result, tmp_path):
    save_student(result.with_suffix(".safetensors"), seed=1)
    assert "is not the file that was measured" in check.difference(result, tmp_path)


@pytest.mark.parametrize("shift", [2.5, -2.5])
def test_a_wrong_figure_is_noticed(result, tmp_path, shift):
    change(result, "measured", "0", "top1", to=lambda top1: top1 + shift)
    found = check.difference(result, tmp_path)
    assert "% top-1, its results say" in found


def test_what_a_processor_s_rounding_may_change_is_none(result, tmp_path):
    change(result, "measured", "0", "top1", to=lambda top1: top1 + 0.9 * check.TOLERANCE)
    assert check.difference(result, tmp_path) is None
