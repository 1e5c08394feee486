import numpy as np
import pytest
import torch
from reference import cake, synthesis

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.samplers import LakeConfig
from cake_edge.samplers.optimise import draw_tuples
from cake_edge.seeding import generator

QUICK = {"steps": 4, "images_per_shard": 12, "batch": 8}


def test_the_energy_is_the_literal_sum_of_weighted_terms(make_teacher):
    teacher = make_teacher("plain")
    config = LakeConfig(classification=3.0, contrast=2.0, variation=0.5)
    images = torch.randn(6, 1, 16, 16, generator=generator(0, "x"))
    targets = torch.tensor([[0, 1, 2], [3, 1, 0]])
    logits = teacher(images).view(2, 3, 4).tolist()
    pairs = [synthesis.pair_energy(z, y) for z, y in zip(logits, targets.tolist(), strict=True)]
    found = config.build(teacher, count=6, seed=0).energy(targets)(images).view(2, 3)
    for t in range(2):
        for g in range(3):
            image = images[t * 3 + g, 0]
            variation = image.diff(dim=0).abs().sum() + image.diff(dim=1).abs().sum()
            wanted = (
                3.0 * cake.cross_entropy(logits[t][g], int(targets[t, g]))
                + 2.0 * pairs[t][g]
                + 0.5 * float(variation)
            )
            assert found[t, g].item() == pytest.approx(wanted, rel=1e-4)


def test_a_chain_is_the_literal_one(make_teacher):
    """Every step against x - eta grad + sqrt(2 eta) noise, from the same start and noise."""
    teacher = make_teacher("plain")
    config = LakeConfig(steps=5, images_per_shard=8, batch=8, stored="float32", decades=2.0)
    sampler = config.build(teacher, count=8, seed=5)
    found = sampler.shard(0)
    random = generator(5, "lake", 0)
    targets = draw_tuples(2, 4, 4, random)
    images = torch.randn((8, 1, 16, 16), generator=random)
    energy = sampler.energy(targets)
    for step in range(5):
        rate = cake.step_size_linear(step, 5, 0.01, 2.0)
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(leaf).sum(), leaf)
        noise = torch.randn((8, 1, 16, 16), generator=random)
        moved = cake.lake_step(images, gradient, rate, noise.numpy())
        images = torch.from_numpy(np.asarray(moved, dtype=np.float32))
    torch.testing.assert_close(found.images, images, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.targets, targets.flatten())


def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards):
    for spec in (small_spec, colour_spec):
        made = check_shards(LakeConfig(**QUICK), make_teacher("plain", spec=spec))
        assert torch.bincount(made[0].targets, minlength=4).tolist() == [3, 3, 3, 3]


def test_the_batch_does_not_change_what_the_noise_leaves_alone(make_teacher):
    """Weights are per image: two batches give what one gives, but for the noise they draw."""
    teacher = make_teacher("plain")
    sampler = LakeConfig(**QUICK).build(teacher, count=12, seed=0)
    images, targets = torch.randn(12, 1, 16, 16), draw_tuples(3, 4, 4, generator(0, "t"))
    whole = sampler.energy(targets)(images)
    parts = [sampler.energy(targets[k : k + 1])(images[4 * k : 4 * k + 4]) for k in range(3)]
    torch.testing.assert_close(whole, torch.cat(parts))


def test_it_lowers_its_own_energy(make_teacher):
    teacher = make_teacher("plain")
    config = LakeConfig(steps=100, images_per_shard=20, batch=20)
    sampler = config.build(teacher, count=20, seed=0)
    random = generator(0, "lake", 0)
    targets = draw_tuples(5, 4, 4, random)
    start = torch.randn((20, 1, 16, 16), generator=random)
    energy = sampler.energy(targets)
    assert energy(sampler.shard(0).images).mean() < 0.85 * energy(start).mean()


def test_a_heavy_class_term_brings_images_to_their_targets(make_teacher):
    teacher = make_teacher("plain")
    teacher.network.head.weight.mul_(10)
    config = LakeConfig(
        steps=100, images_per_shard=40, classification=300.0, contrast=0.0, variation=0.0
    )
    shard = config.build(teacher, count=40, seed=0).shard(0)
    assert (shard.logits.argmax(1) == shard.targets).double().mean() > 0.6


def test_the_same_energy_gives_different_images_where_noise_differs(make_teacher):
    teacher = make_teacher("plain")
    config = LakeConfig(steps=100, images_per_shard=8, batch=8)
    one, other = (config.build(teacher, count=8, seed=s).shard(0).images for s in (0, 1))
    assert (one - other).abs().mean() > 0.05


def test_chains_that_leave_the_numbers_are_stopped(make_teacher):
    config = LakeConfig(**QUICK, step_size=1e38)
    with pytest.raises(NumericsError, match="use a smaller step_size"):
        config.build(make_teacher("plain"), count=12, seed=0).shard(0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tuple_size": 1}, "at least 2"),
        ({"step_size": 0.0}, "above 0"),
        ({"variation": -1.0}, "0 or more"),
        ({"prior": "x"}, "allowed: broad"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        LakeConfig(**settings)
