from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import cake

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.samplers import CakePaperConfig
from cake_edge.seeding import generator

SMALL = {"batch": 8, "tuple_size": 4, "steps": 3, "variation": 100.0}


def test_the_defaults_are_the_released_ones():
    config = CakePaperConfig()
    assert (config.batch, config.tuple_size, config.steps) == (500, 10, 256)
    assert (config.classification, config.contrast, config.variation) == (1e3, 1e-3, 1e7)
    assert (config.step_size, config.decades, config.schedule) == (1e-1, 4.0, "linear")
    assert not config.langevin
    assert config.entropy == 0.0


def test_the_total_is_the_literal_sum_of_weighted_terms(make_teacher):
    teacher = make_teacher("plain")
    config = CakePaperConfig(**SMALL, contrast=10.0, entropy=2.0)
    sampler = config.build(teacher, count=8, seed=0)
    random = generator(0, "images")
    images = torch.randn((8, 1, 16, 16), generator=random)
    targets = torch.tensor([[0, 1, 2, 3], [3, 1, 0, 2]])
    logits = teacher(images)
    tuples = logits.view(2, 4, 4).tolist()
    wanted = (
        1e3 * cake.classification(tuples, targets.tolist())
        + 10.0 * cake.contrast(tuples)
        + 100.0 * cake.total_variation(images.tolist())
        + 2.0 * cake.diversity(logits.tolist())
    )
    assert sampler.loss(images, targets).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("langevin", [False, True])
def test_a_trajectory_is_the_literal_one(make_teacher, monkeypatch, langevin):
    """Every step against x - eta grad (+ sqrt(2 eta) noise), from the same start and noise."""
    # In float32: under autocast the literal form would have to round as the processor does.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    teacher = make_teacher("plain")
    config = CakePaperConfig(**SMALL, langevin=langevin)
    sampler = config.build(teacher, count=16, seed=5)
    found = sampler.shard(1)
    random = generator(5, "cake-paper", 1)
    images = torch.randn((8, 1, 16, 16), generator=random)
    targets = torch.rand((2, 4), generator=random).argsort(1)
    rate = cake.step_size_linear(1, 2, 0.1, 4)
    for _ in range(3):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(sampler.loss(leaf, targets), leaf)
        if langevin:
            noise = torch.randn((8, 1, 16, 16), generator=random)
            moved = cake.lake_step(images, gradient, rate, noise.numpy())
        else:
            moved = cake.cake_step(images, gradient, rate)
        images = torch.from_numpy(np.asarray(moved, dtype=np.float32))
    torch.testing.assert_close(found.images, images, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.targets, targets.flatten())
    torch.testing.assert_close(found.logits, teacher(found.images))


def test_the_step_size_falls_over_the_pool(make_teacher):
    sampler = CakePaperConfig(**SMALL).build(make_teacher(), count=80, seed=0)
    rates = [sampler.step_size(index) for index in range(10)]
    assert rates[0] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert rates[9] == pytest.approx(cake.step_size_linear(9, 10, 0.1, 4))


def test_hard_labels_keep_the_decision_alone(make_teacher):
    config = CakePaperConfig(**SMALL, soft_labels=False)
    shard = config.build(make_teacher("plain"), count=8, seed=0).shard(0)
    assert shard.logits.softmax(1).amax(1).tolist() == [1.0] * 8


def test_the_soft_nearest_neighbour_form_runs(make_teacher):
    config = CakePaperConfig(**SMALL, contrast_form="snn", schedule="cosine")
    shard = config.build(make_teacher("plain"), count=8, seed=0).shard(0)
    assert torch.isfinite(shard.images).all()


def test_what_does_not_fit_is_refused(make_teacher):
    with pytest.raises(UsageMistake, match="multiple of the tuple size"):
        CakePaperConfig(batch=500, tuple_size=7)
    with pytest.raises(UsageMistake, match="the teacher has 4 classes"):
        CakePaperConfig(batch=10, tuple_size=5).build(make_teacher(), count=10, seed=0)


def test_labels_that_do_not_exclude_each_other_are_refused(make_teacher, small_spec):
    teacher = make_teacher("plain", spec=replace(small_spec, head="sigmoid"))
    with pytest.raises(
        UsageMistake, match=r"do not exclude each other .* that work without: cake,"
    ):
        CakePaperConfig(**SMALL).build(teacher, count=8, seed=0)


def test_a_run_that_overflows_says_so(make_teacher):
    config = CakePaperConfig(batch=8, tuple_size=4, steps=40, classification=1e30, step_size=1e30)
    with pytest.raises(NumericsError, match="use a smaller step_size"):
        config.build(make_teacher("plain"), count=8, seed=0).shard(0)


@pytest.mark.parametrize("name", ["classification", "contrast", "variation", "decades"])
def test_weights_below_zero_are_refused(name):
    with pytest.raises(UsageMistake, match=f"{name} is -1"):
        CakePaperConfig(**{name: -1.0})
