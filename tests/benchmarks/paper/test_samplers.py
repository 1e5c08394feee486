import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from benchmarks.paper import samplers
from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.samplers import affordable, main, plans, uses_statistics
from cake_edge.errors import UsageMistake
from cake_edge.networks import build_network
from cake_edge.samplers import SAMPLERS, CakePaperConfig, ForwardOnlyConfig
from cake_edge.samplers.cost import image_steps
from cake_edge.teachers.frozen import FrozenTeacher

PAID_BY_IMAGE = sorted(SAMPLERS.keys() - {"forward-only", "gdfq"})


@pytest.fixture
def with_statistics():
    """A teacher that has batch norms."""
    network = build_network("cake_small_resnet", channels=1, classes=10, arguments={}, seed=0)
    return FrozenTeacher(network.eval(), FASHION_MNIST, architecture="cake_small_resnet")


@pytest.mark.parametrize("budget", [399, 40_000, 128_500, 300_000])
@pytest.mark.parametrize("name", PAID_BY_IMAGE)
def test_a_pool_costs_what_is_nearest_to_the_budget(name, budget):
    sampler = SAMPLERS[name]()
    # What every number of images would cost, tried one by one around the answer.
    found = affordable(sampler, budget, 10)
    costs = {n: image_steps(sampler, n, 10) for n in range(max(1, found - 600), found + 600)}
    within = {n: cost for n, cost in costs.items() if cost <= 1.01 * budget}
    if not within:
        assert found == 0
        return
    nearest = min(abs(cost - budget) for cost in within.values())
    assert found == max(n for n, cost in within.items() if abs(cost - budget) == nearest)


def test_a_little_over_is_nearer_than_far_below():
    # 31 tuples of ten chains cost 79 360; 32 cost 81 920.
    sampler = SAMPLERS["lake"]()
    assert image_steps(sampler, affordable(sampler, 81_500, 10), 10) == 81_920
    assert image_steps(sampler, affordable(sampler, 80_000, 10), 10) == 79_360


def test_a_pool_larger_than_the_budget_is_none():
    assert affordable(CakePaperConfig(), 40_000, 10) == 0
    assert affordable(CakePaperConfig(), 128_000, 10) == 500


def test_a_cost_that_says_nothing_of_the_images_is_refused():
    with pytest.raises(UsageMistake, match="how many images"):
        affordable(ForwardOnlyConfig(), 1000, 10)


def test_those_that_pay_no_image_steps_by_the_image_have_as_many_as_cake(small):
    found = plans(small.teacher, 40_000)
    assert found.keys() == SAMPLERS.keys()
    assert found["cake"].images == affordable(SAMPLERS["cake"](), 40_000, 10) > 1000
    assert found["forward-only"].images == found["gdfq"].images == found["cake"].images
    gdfq = found["gdfq"]
    assert 39_000 < image_steps(gdfq.sampler, gdfq.images, 10) <= 40_000


def test_what_cannot_be_made_says_why(small, with_statistics):
    found = plans(small.teacher, 40_000)
    assert "BatchNorm" in found["deep-inversion"].why_not
    assert found["cake-paper"].why_not == "its smallest pool costs 128000 image-steps"
    assert plans(with_statistics, 40_000)["deep-inversion"].why_not is None


def test_a_budget_below_every_pool_of_cake_is_refused(small):
    with pytest.raises(UsageMistake, match="cake needs 200"):
        plans(small.teacher, 195)


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
            0.85 * point["budget"] <= point["image_steps"] <= point["budget"] for point in points
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
