import logging

import pytest
import torch
from reference import cake, synthesis
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.samplers import CmiConfig
from cake_edge.samplers.cmi import Inversion, watched_features
from cake_edge.samplers.common import even_targets
from cake_edge.samplers.crops import random_crops
from cake_edge.seeding import generator
from cake_edge.teachers.frozen import FrozenTeacher

QUICK = {
    "steps": 3, "latent": 8, "width": 8, "projection": 8, "images_per_shard": 12, "batch": 6
}  # fmt: skip


class Bare(nn.Module):
    """As a network read from a graph: weights, and no layers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 256, generator=generator(0, "bare")))

    def forward(self, images):
        return nn.functional.linear(images.flatten(1), self.weight)


def channels(inputs, norm):
    values = inputs.detach().transpose(0, 1).flatten(1).tolist()
    return list(zip(values, norm.running_mean.tolist(), norm.running_var.tolist(), strict=True))


def test_the_loss_is_the_literal_sum_of_weighted_terms(make_teacher):
    teacher = make_teacher()
    config = CmiConfig(**QUICK, classification=2.0, statistics=3.0, contrast=0.7, temperature=0.3)
    sampler = config.build(teacher, count=12, seed=0)
    targets = even_targets(6, 4, generator(0, "t"))
    images = torch.randn(6, 1, 16, 16, generator=generator(0, "x"))
    crops = random_crops(images, config.crop, generator(0, "c"))
    head = teacher.network.get_classifier()
    with watched_features(teacher) as features, torch.enable_grad():
        bank = torch.randn(5, features.length, generator=generator(0, "b"))
        inversion = Inversion(
            sampler, features, targets, bank, generator(0, "w"), generator(0, "n")
        )
        inversion.random = generator(0, "c")
        found = inversion.loss(images)
        (logits, whole), (_, local) = features.of(images), features.of(crops)
    assert whole.shape == (6, head.in_features)
    torch.testing.assert_close(head(whole), logits)
    seen, handles = [], []
    for module in teacher.network.modules():
        if hasattr(module, "running_var"):

            def hook(m, args):
                seen.append(channels(args[0], m))

            handles.append(module.register_forward_pre_hook(hook))
    teacher(images)
    for handle in handles:
        handle.remove()
    one, other, third = (inversion.projection(x).tolist() for x in (whole, local, bank))
    told = synthesis.instance_discrimination(one, other, third, 0.3)
    answers = zip(logits.tolist(), targets.tolist(), strict=True)
    wanted = 2.0 * sum(cake.cross_entropy(z, y) for z, y in answers) / 6
    wanted += 3.0 * synthesis.statistics_distance(seen) + 0.7 * sum(told) / 6
    assert found.item() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("architecture", ["test_resnet", "plain"])
def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards,
                                              architecture):  # fmt: skip
    for spec in (small_spec, colour_spec):
        made = check_shards(CmiConfig(**QUICK), make_teacher(architecture, spec=spec))
        assert torch.bincount(made[0].targets, minlength=4).tolist() == [3, 3, 3, 3]


def test_it_lowers_its_own_loss_and_reaches_its_targets(make_teacher):
    teacher = make_teacher("plain")
    teacher.network.head.weight.mul_(10)
    config = CmiConfig(**{**QUICK, "steps": 60, "images_per_shard": 24, "batch": 24},
                       classification=2.0, learning_rate=0.01)  # fmt: skip
    sampler = config.build(teacher, count=24, seed=0)
    targets = even_targets(24, 4, generator(0, "t"))
    with watched_features(teacher) as features:
        bank = torch.empty((0, features.length))
        made = Inversion(sampler, features, targets, bank, generator(0, "w"), generator(0, "n"))
        before = made.loss(made.generator(made.noise, targets)).item()
        images = made.run()
        after = made.loss(images).item()
    assert after < 0.8 * before
    assert (teacher(images).argmax(1) == targets).double().mean() > 0.6


def test_contrast_alone_moves_images_and_not_only_the_projection(make_teacher):
    teacher = make_teacher()
    config = CmiConfig(**{**QUICK, "steps": 40}, classification=0.0, statistics=0.0,
                       learning_rate=0.01, crop=(0.9, 1.0))  # fmt: skip
    sampler = config.build(teacher, count=12, seed=0)
    targets = even_targets(12, 4, generator(0, "t"))
    with watched_features(teacher) as features:
        bank = features.of(torch.randn(20, 1, 16, 16, generator=generator(0, "b")))[1]
        made = Inversion(sampler, features, targets, bank, generator(0, "w"), generator(0, "n"))
        made.projection.requires_grad_(False)
        before = made.loss(made.generator(made.noise, targets)).item()
        after = made.loss(made.run()).item()
    assert after < before - 0.1


def test_a_network_without_layers_is_told_by_its_logits(small_spec):
    teacher = FrozenTeacher(Bare(), small_spec, architecture="bare")
    with watched_features(teacher) as features:
        logits, given = features.of(torch.randn(3, 1, 16, 16))
    assert torch.equal(logits, given)
    assert len(CmiConfig(**QUICK).build(teacher, count=12, seed=0).shard(0)) == 12


def test_labels_that_do_not_exclude_each_other_work_too(sigmoid_teacher):
    assert len(CmiConfig(**QUICK).build(sigmoid_teacher, count=12, seed=0).shard(0)) == 12


def test_missing_statistics_are_said(make_teacher, caplog):
    with caplog.at_level(logging.INFO, logger="cake_edge"):
        CmiConfig(**QUICK).build(make_teacher("plain"), count=12, seed=0)
    assert "remembers no statistics" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop": (0.5, 0.2)}, "least <= greatest"),
        ({"temperature": 0.0}, "above 0"),
        ({"contrast": -1.0}, "0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        CmiConfig(**settings)
