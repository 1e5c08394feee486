from dataclasses import replace

import pytest
import torch

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.hooks import watch_statistics
from cake_edge.losses.statistics import statistics_distance
from cake_edge.priors import PRIORS
from cake_edge.samplers import CakeConfig, sampler_settings
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.storage import as_stored

QUICK = {"steps": 8, "snapshots": 2, "oversample": 2, "images_per_shard": 24, "batch": 12}


@pytest.mark.parametrize("architecture", ["test_resnet", "plain", "test_vit"])
def test_it_works_with_batch_norm_without_and_with_attention(make_teacher, architecture):
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=4)
    teacher = make_teacher(architecture, spec=spec)
    shard = CakeConfig(**QUICK).build(teacher, count=24, seed=0).shard(0)
    assert shard.images.shape == (24, 3, 32, 32)
    assert (shard.steps > 0).sum() == 8
    assert (shard.targets[shard.steps > 0] >= 0).all()
    assert (shard.targets[shard.steps == 0] == -1).all()


@pytest.mark.parametrize("stored", ["uint8", "float16", "float32"])
def test_the_logits_are_the_teacher_s_on_exactly_the_stored_images(make_teacher, stored):
    teacher = make_teacher()
    shard = CakeConfig(**QUICK, stored=stored).build(teacher, count=24, seed=0).shard(0)
    assert torch.equal(shard.images, as_stored(shard.images, teacher.spec, stored))
    torch.testing.assert_close(shard.logits, teacher(shard.images))


def test_images_stay_within_the_pixels_a_camera_can_give(make_teacher, small_spec):
    shard = CakeConfig(**QUICK).build(make_teacher(), count=24, seed=0).shard(0)
    pixels = small_spec.denormalise(shard.images.numpy())
    assert pixels.min() > -1e-3
    assert pixels.max() < 1 + 1e-3


def test_a_shard_does_not_depend_on_the_others_nor_on_the_global_random_state(make_teacher):
    teacher = make_teacher()
    sampler = CakeConfig(**QUICK).build(teacher, count=72, seed=3)
    state = torch.get_rng_state()
    sampler.shard(0)
    again = sampler.shard(1)
    fresh = CakeConfig(**QUICK).build(teacher, count=72, seed=3).shard(1)
    assert torch.equal(again.images, fresh.images)
    assert not torch.equal(again.images, sampler.shard(2).images)
    assert torch.equal(state, torch.get_rng_state())


def test_the_teacher_s_batch_does_not_change_what_is_made(make_teacher):
    teacher = make_teacher("plain")
    one = CakeConfig(**QUICK).build(teacher, count=24, seed=0).shard(0)
    other = CakeConfig(**{**QUICK, "batch": 24}).build(teacher, count=24, seed=0).shard(0)
    torch.testing.assert_close(one.images, other.images, atol=2e-3, rtol=0)


def test_pushing_brings_images_to_their_targets(make_teacher):
    teacher = make_teacher("plain")
    config = CakeConfig(
        pushed_share=1.0, steps=60, snapshots=2, step_size=(0.02, 0.05), contrast=(1e-4, 1e-4),
        variation=0.0, images_per_shard=40, oversample=1, jitter=0.0,
    )  # fmt: skip
    shard = config.build(teacher, count=40, seed=0).shard(0)
    last = shard.steps == 60
    early = float((shard.logits.argmax(1) == shard.targets)[~last].double().mean())
    late = float((shard.logits.argmax(1) == shard.targets)[last].double().mean())
    assert late >= early
    assert late > 0.6


def test_pushing_turns_the_target_label_on_and_leaves_the_others(make_teacher, small_spec):
    """Of a softmax the other classes are pushed down as well; of a sigmoid nothing is."""
    config = CakeConfig(
        pushed_share=1.0, steps=60, snapshots=1, step_size=(0.02, 0.05), contrast=(1e-6, 1e-6),
        variation=0.0, images_per_shard=40, oversample=1, jitter=0.0,
    )  # fmt: skip
    made = {}
    for head in ("softmax", "sigmoid"):
        teacher = make_teacher("plain", spec=replace(small_spec, head=head))
        # Every label is there in half of the images.
        images = PRIORS["structured"](400, teacher.spec, generator(0, "centre"))
        teacher.network.head.bias -= teacher(images).median(0).values
        shard = config.build(teacher, count=40, seed=0).shard(0)
        aimed = torch.nn.functional.one_hot(shard.targets, 4).bool()
        made[head] = shard.logits[aimed].mean(), shard.logits[~aimed].mean()
    assert made["sigmoid"][0] > made["softmax"][0]
    assert made["sigmoid"][1] > made["softmax"][1]
    assert (shard.logits[aimed] > 0).double().mean() > 0.8


def test_contrast_holds_images_nearer_to_the_boundary(make_teacher):
    teacher = make_teacher("plain")

    def confidence(weight):
        config = CakeConfig(
            pushed_share=1.0, steps=60, snapshots=1, step_size=(0.03, 0.03),
            contrast=(weight, weight), variation=0.0, images_per_shard=40, oversample=1,
            starts="any", towards="any", jitter=0.0,
        )  # fmt: skip
        shard = config.build(teacher, count=40, seed=0).shard(0)
        return float(shard.logits.softmax(1).amax(1).mean())

    assert confidence(1.0) < confidence(1e-4) - 0.05


def test_prior_images_are_chosen_for_even_classes(make_teacher):
    teacher = make_teacher("plain")
    # An untrained head mostly names one class; centring its answers makes it name all of them.
    images = PRIORS["structured"](400, teacher.spec, generator(0, "centre"))
    teacher.network.head.bias -= teacher(images).median(0).values

    def unevenness(oversample):
        config = CakeConfig(pushed_share=0.0, oversample=oversample, images_per_shard=100)
        shard = config.build(teacher, count=100, seed=0).shard(0)
        return torch.bincount(shard.logits.argmax(1), minlength=4).double().std()

    assert unevenness(20) < 0.8 * unevenness(1)


def test_a_last_shard_may_be_short(make_teacher):
    sampler = CakeConfig(**QUICK).build(make_teacher(), count=25, seed=0)
    assert len(sampler.shard(0)) == 24
    assert len(sampler.shard(1)) == 1


def test_a_teacher_that_answers_nan_is_refused(make_teacher):
    teacher = make_teacher("plain")
    teacher.network.head.weight.fill_(float("nan"))
    with pytest.raises(NumericsError, match="NaN or infinity"):
        CakeConfig(**QUICK).build(teacher, count=24, seed=0).shard(0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior": "structurd"}, "did you mean structured"),
        ({"pushed_share": 1.5}, r"must lie in \[0, 1\]"),
        ({"steps": 0}, "at least 1"),
        ({"tuple_size": 1}, "at least 2"),
        ({"contrast": (0.1, 0.01)}, r"0 < low <= high, or \[0, 0\]"),
        ({"contrast": (0.0, 0.01)}, "0 < low <= high"),
        ({"step_size": (0.0, 0.0)}, "0 < low <= high$"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        CakeConfig(**settings)


def test_an_unknown_sampler_is_refused_with_near_names():
    with pytest.raises(UsageMistake, match="did you mean cake"):
        sampler_settings("cakes", {})


def centred(make_teacher):
    """An untrained head mostly names one class; centring its answers makes it name all of them."""
    teacher = make_teacher("plain")
    images = PRIORS["structured"](400, teacher.spec, generator(0, "centre"))
    teacher.network.head.bias -= teacher(images).median(0).values
    return teacher


def test_what_is_diffused_is_what_the_teacher_is_surest_of(make_teacher):
    teacher = centred(make_teacher)

    def highest(starts):
        config = CakeConfig(
            starts=starts, pushed_share=0.5, steps=1, snapshots=1, step_size=(1e-6, 1e-6),
            images_per_shard=80, stored="float32",
        )  # fmt: skip
        shard = config.build(teacher, count=80, seed=0).shard(0)
        pushed = shard.steps > 0
        assert pushed.sum() == 40
        return float(shard.logits[pushed].amax(1).mean()), shard.logits[pushed].argmax(1)

    sure, classes = highest("surest")
    assert sure > highest("any")[0]
    assert torch.bincount(classes, minlength=4).min() >= 5


def test_images_are_pushed_to_another_class_than_they_show(make_teacher):
    teacher = centred(make_teacher)
    config = CakeConfig(
        pushed_share=1.0, steps=1, snapshots=1, step_size=(1e-6, 1e-6), images_per_shard=40
    )
    shard = config.build(teacher, count=40, seed=0).shard(0)
    assert (shard.targets != shard.logits.argmax(1)).all()
    near = shard.logits.gather(1, shard.targets[:, None]).squeeze(1)
    others = shard.logits.sum(1) - shard.logits.amax(1) - near
    assert near.mean() > (others / 2).mean()


def test_without_contrast_an_image_does_not_depend_on_its_tuple(make_teacher):
    teacher = make_teacher("plain")
    sampler = CakeConfig(contrast=(0.0, 0.0), steps=3, snapshots=1).build(teacher, count=8, seed=0)
    images = PRIORS["structured"](8, teacher.spec, generator(0, "tuple")).view(2, 4, 1, 16, 16)
    targets = torch.arange(4).expand(2, 4)
    step_size, none = torch.full((2,), 0.02), torch.zeros(2)
    (together,) = sampler.diffuse(images, targets, step_size, none, seed=3)
    (alone,) = sampler.diffuse(images[:, :1], targets[:, :1], step_size, none, seed=3)
    torch.testing.assert_close(together[::4], alone, atol=1e-5, rtol=0)


def test_jitter_is_drawn_from_the_seed(make_teacher):
    config = CakeConfig(steps=2, snapshots=1, contrast=(0.0, 0.0), jitter=0.25)
    sampler = config.build(make_teacher("plain"), count=8, seed=0)
    images = PRIORS["structured"](8, sampler.teacher.spec, generator(0, "j")).view(2, 4, 1, 16, 16)
    targets, step_size = torch.arange(4).expand(2, 4), torch.full((2,), 0.004)
    once, again, other = (
        sampler.diffuse(images, targets, step_size, torch.zeros(2), seed=seed)[0]
        for seed in (3, 3, 4)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_the_statistics_term_brings_a_batch_nearer_to_what_is_remembered(make_teacher, caplog):
    teacher = make_teacher("test_resnet")

    def distance(weight):
        config = CakeConfig(
            pushed_share=1.0, steps=20, snapshots=1, step_size=(0.02, 0.02), statistics=weight,
            classification=0.1, images_per_shard=32, stored="float32",
        )  # fmt: skip
        images = config.build(teacher, count=32, seed=0).shard(0).images
        with watch_statistics(teacher.network) as watch:
            teacher(images.requires_grad_())
        return float(statistics_distance(watch.take()).detach())

    assert distance(10.0) < distance(0.0)
    with caplog.at_level("INFO"):
        CakeConfig(**QUICK, statistics=1.0).build(make_teacher("plain"), count=24, seed=0).shard(0)
    assert "remembers no statistics" in caplog.text
