import numpy as np
import pytest
import torch
from reference import synthesis
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.losses.soft_targets import soft_target_cross_entropy
from cake_edge.priors import PRIORS
from cake_edge.samplers import DataImpressionsConfig
from cake_edge.samplers.common import even_targets
from cake_edge.samplers.data_impressions import SMALLEST, class_concentrations, draw_labels
from cake_edge.seeding import generator
from cake_edge.teachers.frozen import FrozenTeacher

QUICK = {"steps": 4, "images_per_shard": 12, "batch": 6}


class Distances(nn.Module):
    """No head whose weights give the logits."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centres", torch.randn(4, 256, generator=generator(0, "centres")))

    def forward(self, images):
        return -(images.flatten(1)[:, None] - self.centres).square().mean(2)


def test_concentrations_are_the_literal_ones():
    weights = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    found = class_concentrations(weights)
    for row, wanted in zip(
        found.tolist(), synthesis.concentrations(weights.tolist(), SMALLEST), strict=True
    ):
        assert row == pytest.approx(wanted, rel=1e-5)
    assert found.diagonal().tolist() == pytest.approx([1.0] * 5)


def test_labels_have_the_mean_and_spread_of_a_dirichlet_distribution():
    alpha = torch.tensor([2.0, 1.0, 0.5])
    drawn = draw_labels(alpha.expand(20000, 3), np.random.default_rng(0)).double()
    total, mean = alpha.sum(), alpha / alpha.sum()
    torch.testing.assert_close(drawn.sum(1), torch.ones(20000).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(drawn.mean(0), mean.double(), atol=0.01, rtol=0)
    spread = mean * (1 - mean) / (total + 1)
    torch.testing.assert_close(drawn.var(0), spread.double(), atol=0.01, rtol=0)


def test_tiny_concentrations_still_give_labels():
    drawn = draw_labels(torch.full((500, 1000), 1e-6), np.random.default_rng(0))
    torch.testing.assert_close(drawn.sum(1), torch.ones(500))


def test_lower_scales_give_surer_labels(make_teacher):
    config = DataImpressionsConfig(scales=(1.0, 0.01))
    sampler = config.build(make_teacher("plain"), count=400, seed=0)
    labels = sampler.labels(torch.arange(400) % 4, 0)
    assert labels[1::2].amax(1).mean() > labels[::2].amax(1).mean() + 0.1


def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards):
    for spec in (small_spec, colour_spec):
        made = check_shards(DataImpressionsConfig(**QUICK), make_teacher("plain", spec=spec))
        assert torch.bincount(made[0].targets, minlength=4).tolist() == [3, 3, 3, 3]


def test_it_lowers_its_own_loss(make_teacher):
    teacher = make_teacher("plain")
    config = DataImpressionsConfig(steps=100, temperature=0.5, images_per_shard=12, batch=12)
    sampler = config.build(teacher, count=12, seed=0)
    random = generator(0, "data-impressions", 0)
    labels = sampler.labels(even_targets(12, 4, random), 0)
    start = PRIORS["gaussian"](12, teacher.spec, random)
    after = soft_target_cross_entropy(sampler.shard(0).logits, labels, 0.5)
    before = soft_target_cross_entropy(teacher(start), labels, 0.5)
    entropy = -torch.xlogy(labels, labels).sum(1)
    assert (after - entropy).mean() < 0.8 * (before - entropy).mean()


def test_without_a_linear_head_it_says_so_and_names_samplers_that_work(small_spec):
    teacher = FrozenTeacher(Distances(), small_spec, architecture="distances")
    with pytest.raises(UsageMistake, match=r"work without: cake, .*forward-only") as caught:
        DataImpressionsConfig().build(teacher, count=4, seed=0)
    assert "without: data-impressions" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scales": ()}, "at least one"),
        ({"scales": (1.0, 0.0)}, "all above 0"),
        ({"temperature": 0.0}, "above 0"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        DataImpressionsConfig(**settings)
