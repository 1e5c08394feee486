import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.paper import with_data
from benchmarks.paper.with_data import blended, main
from cake_edge.pool import synthesize


@pytest.fixture
def real(small):
    images = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 1), np.uint8)
    return images, torch.from_numpy(
        small.teacher.spec.normalise(images.transpose(0, 3, 1, 2) / 255)
    )


@pytest.fixture
def pool(small, tmp_path):
    return synthesize(small.teacher, small.row.sampler, tmp_path / "p", count=20, seed=0)


@pytest.mark.parametrize(("percent", "count"), [(0, 0), (10, 2), (50, 10), (100, 12)])
def test_a_share_of_the_pool_is_real(small, pool, real, percent, count):
    images, logits = blended(pool, real[1], small.teacher, percent, seed=0)
    every = images.gather(torch.arange(20))
    assert len(images) == len(logits) == 20
    originals, pooled = real[1].half().float(), pool.images().gather(torch.arange(20))
    for number, image in enumerate(every):
        among = originals if number < count else pooled
        assert any(torch.equal(image, other) for other in among)
    assert len(torch.unique(every, dim=0)) == 20
    torch.testing.assert_close(small.teacher(every), logits, atol=1e-3, rtol=1e-3)


def test_students_are_shown_what_is_real(small, real, tmp_path, monkeypatch):
    monkeypatch.setattr(with_data, "RESULTS", tmp_path)
    monkeypatch.setattr(with_data, "absent", lambda dataset: None)
    monkeypatch.setattr(with_data, "training_set", lambda dataset: (real[0], None))
    monkeypatch.setattr(with_data, "teacher_of", lambda row, folder: small.teacher)
    shown = []
    taught = with_data.taught

    def watched(row, *given, views_of, **named):
        made = views_of(None)(None, None, small.teacher, row.training.views(),
                              seed=0, first=0, last=1)  # fmt: skip
        shown.append(made.images.gather(torch.arange(20)))
        return taught(row, *given, views_of=views_of, **named)

    monkeypatch.setattr(with_data, "taught", watched)
    command = ["fashion-mnist-lenet5", "--shares", "0,50", "--steps", "3", "--seeds", "0,2",
               "--out", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "with-data-fashion-mnist-lenet5.json").read_text())
    assert said["training"]["steps"] == 3
    assert said["measured"].keys() == said["summary"].keys() == {"0", "50"}
    assert said["measured"]["50"].keys() == {"0", "2"}
    assert len(shown) == 4
    originals = real[1].half().float()
    counts = [sum(any(torch.equal(i, o) for o in originals) for i in images) for images in shown]
    assert counts == [0, 10, 0, 10]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cifar10-resnet20"], "cifar10-resnet20"),
        (["fashion-mnist-lenet5", "--shares", "0,101"], "at most 100"),
    ],
)
def test_mistakes_are_told(arguments, said, tmp_path):
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert said in done.output
