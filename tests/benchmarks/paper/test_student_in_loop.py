import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.paper import student_in_loop, taught
from benchmarks.paper.student_in_loop import WAYS, Disagreement, Hardest, SelfPaced, main
from cake_edge.networks import build_network
from cake_edge.pool import synthesize
from cake_edge.views import Views, class_index


@pytest.fixture
def views_of(small, tmp_path):
    """Makes the views of a way, asking a student of random weights."""
    pool = synthesize(small.teacher, small.row.sampler, tmp_path / "p", count=40, seed=0)
    levels = torch.cat([shard.steps for shard in pool.shards()])
    student = build_network("cake_mlp", channels=1, classes=10, arguments={"width": 4}, seed=1)

    def make(way):
        bound = student_in_loop._views_of(way, student, levels)
        config = small.row.training.views()
        return bound(pool.images(), pool.logits(), small.teacher, config, seed=0, first=0, last=100)

    return make


def test_pushed_views_keep_their_class_and_differ_more(views_of, small):
    plain, asked = views_of(Views).step(8), views_of(Disagreement)
    images, logits = asked.step(8)
    assert not torch.equal(images, plain[0])
    torch.testing.assert_close(small.teacher(images), logits)
    assert torch.equal(logits.argmax(1), plain[1].argmax(1))
    assert asked.difference(images).mean() > asked.difference(plain[0]).mean()


def test_what_was_pushed_is_shown_again(views_of):
    asked = views_of(Disagreement)
    before = asked.step(9)[0]
    pushed, _ = asked.step(8)
    after = asked.step(9)[0]
    assert torch.equal(after[:-2], before[2:])
    bank = pushed.half().float()
    assert all(any(torch.equal(image, kept) for kept in bank) for image in after[-2:])


def test_the_hardest_half_comes_first(views_of):
    asked = views_of(Hardest)
    images, logits = asked.step(3)
    assert len(images) == len(logits) == 8
    wrong = asked.difference(images)
    assert wrong[:4].min() >= wrong[4:].max()


def test_pushed_images_are_let_in_late(views_of):
    paced = views_of(SelfPaced)
    random = torch.Generator().manual_seed(0)
    early = torch.cat([paced._draw(0, random) for _ in range(20)])
    late = torch.cat([paced._draw(99, random) for _ in range(20)])
    assert paced.levels[late].double().mean() > 1.5 * paced.levels[early].double().mean()
    assert torch.equal(paced.sizes, class_index(paced.logits.argmax(1))[2])


def test_every_way_is_measured_with_every_seed(small, tmp_path, monkeypatch):
    monkeypatch.setattr(student_in_loop, "RESULTS", tmp_path)
    steps, train = [], taught.train

    def counted(network, teacher, pool, config, *given, **named):
        steps.append(config.steps)
        return train(network, teacher, pool, config, *given, **named)

    monkeypatch.setattr(taught, "train", counted)
    command = ["--dataset", "fashion-mnist", "--images", "20", "--steps", "6", "--seeds", "0,2",
               "--out", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "student-in-loop-fashion-mnist.json").read_text())
    assert said["summary"].keys() == said["measured"].keys() == set(WAYS)
    assert said["measured"]["hardest"].keys() == {"0", "2"}
    assert said["summary"]["nobody asked"]["top1_difference"] == {"mean": 0.0, "deviation": 0.0}
    assert steps == 2 * [12 if way == "twice as long" else 6 for way in WAYS]
