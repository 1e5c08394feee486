import logging
from dataclasses import replace

import pytest
import torch
from reference import cake, synthesis

from cake_edge.errors import UsageMistake
from cake_edge.hooks import watch_statistics
from cake_edge.samplers import GdfqConfig
from cake_edge.samplers.common import even_targets, seeded_generator
from cake_edge.seeding import generator
from cake_edge.workers import packed, unpacked

QUICK = {
    "train_steps": 3, "train_batch": 8, "latent": 8, "width": 8, "images_per_shard": 12, "batch": 8
}  # fmt: skip


def channels(inputs, norm):
    values = inputs.detach().transpose(0, 1).flatten(1).tolist()
    return list(zip(values, norm.running_mean.tolist(), norm.running_var.tolist(), strict=True))


def test_the_loss_is_the_literal_sum_of_weighted_terms(make_teacher):
    teacher = make_teacher()
    config = GdfqConfig(**{**QUICK, "classification": 2.0, "statistics": 3.0})
    sampler = config.build(teacher, count=8, seed=0)
    network = seeded_generator(teacher.spec, generator(0, "w"), latent=8, width=8).eval()
    with watch_statistics(teacher.network) as watch:
        found = sampler.loss(network, generator(0, "r"), watch)
    random = generator(0, "r")
    targets = even_targets(8, 4, random)
    images = network(torch.randn((8, 8), generator=random), targets)
    seen, handles = [], []
    for module in teacher.network.modules():
        if hasattr(module, "running_var"):

            def hook(m, args):
                seen.append(channels(args[0], m))

            handles.append(module.register_forward_pre_hook(hook))
    logits = teacher(images)
    for handle in handles:
        handle.remove()
    answers = zip(logits.tolist(), targets.tolist(), strict=True)
    wanted = 2.0 * sum(cake.cross_entropy(z, y) for z, y in answers) / 8
    wanted += 3.0 * synthesis.statistics_distance(seen)
    assert found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("architecture", ["test_resnet", "plain"])
def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards,
                                              architecture):  # fmt: skip
    for spec in (small_spec, colour_spec):
        made = check_shards(GdfqConfig(**QUICK), make_teacher(architecture, spec=spec))
        assert torch.bincount(made[0].targets, minlength=4).tolist() == [3, 3, 3, 3]


def test_a_worker_process_trains_the_same_generator(make_teacher):
    sampler = GdfqConfig(**QUICK).build(make_teacher("plain"), count=40, seed=0)
    sent = unpacked(packed(sampler))  # as a worker gets it, before anything is trained
    assert torch.equal(sampler.shard(1).images, sent.shard(1).images)
    trained = unpacked(packed(sampler))
    assert torch.equal(sampler.shard(2).images, trained.shard(2).images)


def test_training_lowers_its_loss_and_images_reach_their_labels(make_teacher):
    teacher = make_teacher("plain")
    teacher.network.head.weight.mul_(10)
    settings = {**QUICK, "train_batch": 32, "images_per_shard": 40, "learning_rate": 0.01}

    def hits(steps):
        config = GdfqConfig(**{**settings, "train_steps": steps})
        sampler = config.build(teacher, count=40, seed=0)
        shard = sampler.shard(0)
        with watch_statistics(teacher.network) as watch, torch.no_grad():
            loss = sampler.loss(sampler._generator, generator(9, "fresh"), watch)
        return (shard.logits.argmax(1) == shard.targets).double().mean(), loss

    (before, high), (after, low) = hits(1), hits(60)
    assert low < 0.6 * high
    assert after > before + 0.2


def test_labels_that_do_not_exclude_each_other_work_too(sigmoid_teacher):
    assert len(GdfqConfig(**QUICK).build(sigmoid_teacher, count=12, seed=0).shard(0)) == 12


def test_missing_statistics_are_said(make_teacher, caplog):
    with caplog.at_level(logging.INFO, logger="cake_edge"):
        GdfqConfig(**QUICK).build(make_teacher("test_vit"), count=12, seed=0)
        assert "remembers no statistics" in caplog.text
        caplog.clear()
        GdfqConfig(**QUICK).build(make_teacher(), count=12, seed=0)
        GdfqConfig(**QUICK, statistics=0.0).build(make_teacher("plain"), count=12, seed=0)
        assert not caplog.text


def test_sides_that_are_no_power_of_two_are_met(make_teacher, small_spec):
    spec = replace(small_spec, height=20, width=28)
    shard = GdfqConfig(**QUICK).build(make_teacher("plain", spec=spec), count=12, seed=0).shard(0)
    assert shard.images.shape == (12, 1, 20, 28)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"train_steps": 0}, "at least 1"), ({"learning_rate": 0.0}, "above 0")],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        GdfqConfig(**settings)
