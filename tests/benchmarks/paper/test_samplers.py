import json
import xml.etree.ElementTree as ET

import pytest
import torch
from click.testing import CliRunner

from benchmarks.paper import samplers
from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.samplers import (
    AUTHORS,
    affordable,
    main,
    of_authors,
    plans,
    uses_statistics,
)
from cake_edge.errors import UsageMistake
from cake_edge.networks import build_network
from cake_edge.samplers import SAMPLERS, CakePaperConfig
from cake_edge.samplers.cost import pool_cost
from cake_edge.teachers.frozen import FrozenTeacher

PAID_BY_IMAGE = sorted(SAMPLERS.keys() - {"gdfq"})


@pytest.fixture
def with_statistics():
    """A teacher that has batch norms."""
    network = build_network("cake_small_resnet", channels=1, classes=10, arguments={}, seed=0)
    return FrozenTeacher(network.eval(), FASHION_MNIST, architecture="cake_small_resnet")


@pytest.mark.parametrize("budget", [399, 40_000, 128_500, 300_000])
@pytest.mark.parametrize("name", PAID_BY_IMAGE)
def test_a_pool_has_as_many_images_as_the_budget_pays_for(name, budget):
    sampler = SAMPLERS[name]()
    found = affordable(sampler, budget, 10)
    assert found == 0 or pool_cost(sampler, found, 10).total <= 1.01 * budget
    assert pool_cost(sampler, found + 1, 10).total > 1.01 * budget


def test_a_pool_larger_than_the_budget_is_none():
    assert affordable(CakePaperConfig(), 40_000, 10) == 0
    assert affordable(CakePaperConfig(), 128_000, 10) == 500


@pytest.mark.parametrize("dataset", ["fashion-mnist", "cifar10"])
@pytest.mark.parametrize(("budget", "batch"), [(40_000, 10), (160_000, 20), (640_000, 100),
                                               (10**8, 500)])  # fmt: skip
def test_mini_batches_suit_the_budget_and_move_an_image_as_the_released_do(
    small, dataset, budget, batch
):
    sampler, released = of_authors(dataset, budget), AUTHORS[dataset]
    assert sampler.batch == batch
    assert sampler == of_authors(dataset, budget)
    shown = torch.randn(500, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(10).expand(50, 10)
    slopes = []
    for config, count in ((released, 500), (sampler, batch)):
        images = shown[:count].clone().requires_grad_()
        loss = config.build(small.teacher, count=count, seed=0).loss(images, targets[: count // 10])
        slopes.append(torch.autograd.grad(loss, images)[0][:batch])
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-3 * float(slopes[0].abs().max()))


def test_the_generator_has_as_many_images_as_cake_and_trains_with_the_rest(small):
    found = plans(small.teacher, "fashion-mnist", 40_000)
    assert found.keys() == SAMPLERS.keys()
    assert found["cake"].images == affordable(SAMPLERS["cake"](), 40_000, 10) > 1000
    gdfq = found["gdfq"]
    assert gdfq.images == found["cake"].images
    cost = pool_cost(gdfq.sampler, gdfq.images, 10)
    assert 0 < cost.looks < cost.image_steps
    assert 39_000 < cost.total <= 40_000


def test_what_cannot_be_made_says_why(small, with_statistics):
    found = plans(small.teacher, "fashion-mnist", 40_000)
    assert "BatchNorm" in found["deep-inversion"].why_not
    scant = plans(small.teacher, "fashion-mnist", 2000)
    assert scant["cake-paper"].why_not == "its smallest pool costs 2561 image-steps"
    assert plans(with_statistics, "fashion-mnist", 40_000)["deep-inversion"].why_not is None


def test_a_budget_below_every_pool_of_cake_is_refused(small):
    with pytest.raises(UsageMistake, match="cake needs 204"):
        plans(small.teacher, "fashion-mnist", 195)


def test_statistics_are_used_where_there_are_some(small, with_statistics):
    users = {name for name, kind in SAMPLERS.items() if uses_statistics(kind(), with_statistics)}
    assert users == {"deep-inversion", "cmi", "gdfq"}
    assert not any(uses_statistics(kind(), small.teacher) for kind in SAMPLERS.values())


def test_samplers_are_compared_and_what_is_finished_is_not_made_again(small, tmp_path, monkeypatch):
    chosen = ("cake", "deep-inversion", "forward-only", "gdfq")
    monkeypatch.setattr(samplers, "SAMPLERS", {name: SAMPLERS[name] for name in chosen})
    path = tmp_path / "results" / "samplers.json"
    command = [
        "--dataset", "fashion-mnist", "--budgets", "400,800", "--seeds", "0,1", "--steps", "1",
        "--out", str(tmp_path / "out"), "--workers", "1", "--results", str(path),
    ]  # fmt: skip
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads(path.read_text())
    assert len(small.trained) == 3 * 2 * 2
    assert said["command"].startswith("python -m benchmarks.paper.samplers --dataset")
    assert said["samplers"]["deep-inversion"]["points"] == []
    assert [left["budget"] for left in said["samplers"]["deep-inversion"]["left_out"]] == [400, 800]
    for name in ("cake", "gdfq"):
        points = said["samplers"][name]["points"]
        assert [point["budget"] for point in points] == [400, 800]
        assert all(
            0.85 * point["budget"] <= point["total"] <= 1.01 * point["budget"] for point in points
        )
        assert points[0]["measured"].keys() == {"0", "1"}
        shares = [one["agreement"] for one in points[0]["measured"].values()]
        assert points[0]["agreement"]["mean"] == pytest.approx(sum(shares) / 2, abs=1e-3)
    free = said["samplers"]["forward-only"]["points"][0]
    assert free["image_steps"] == 0
    assert free["looks"] > 0
    assert ET.fromstring(path.with_suffix(".svg").read_text()).tag.endswith("svg")
    CliRunner().invoke(main, command, catch_exceptions=False)
    assert len(small.trained) == 3 * 2 * 2
    again = json.loads(path.read_text())
    assert again["samplers"] == said["samplers"]
