from dataclasses import replace

import pytest
import torch
from reference import cake, scale_free, synthesis

from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.hooks import watch_statistics
from cake_edge.losses.competition import agreement
from cake_edge.losses.statistics import statistics_distance
from cake_edge.priors import PRIORS
from cake_edge.samplers import DeepInversionConfig, deep_inversion
from cake_edge.samplers.common import even_targets
from cake_edge.seeding import generator

QUICK = {"steps": 4, "images_per_shard": 12, "batch": 6}
STILL = {"jitter": 0.0, "flip": False}


def decided(teacher):
    """An untrained network answers alike to everything; with a larger head it has opinions."""
    teacher.network.get_classifier().weight.mul_(100)
    return teacher


@pytest.fixture
def rival(make_teacher, small_spec, tmp_path):
    """A student of the small teacher, in a file."""
    path = tmp_path / "student.safetensors"
    about = Checkpoint(architecture="test_resnet", spec=small_spec)
    save_checkpoint(path, make_teacher("test_resnet", seed=5).network, about)
    return path


def channels(inputs, norm):
    means, variances = norm.running_mean.tolist(), norm.running_var.tolist()
    values = inputs.transpose(0, 1).flatten(1).tolist()
    return list(zip(values, means, variances, strict=True))


def test_the_loss_is_the_literal_sum_of_weighted_terms(make_teacher, small_spec, rival):
    teacher, student = make_teacher(), make_teacher("test_resnet", seed=5)
    config = DeepInversionConfig(
        **STILL, classification=1.5, statistics=3.0, variation=0.2, energy=0.4, competition=2.0,
        rival=str(rival),
    )  # fmt: skip
    sampler = config.build(teacher, count=4, seed=0)
    images, targets = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 3])
    seen, handles = {}, []
    for name, module in teacher.network.named_modules():
        if hasattr(module, "running_var"):

            def hook(m, args, name=name):
                seen[name] = channels(args[0], m)

            handles.append(module.register_forward_pre_hook(hook))
    logits = teacher(images)
    for handle in handles:
        handle.remove()
    statistics = synthesis.statistics_distance(list(seen.values()))
    wanted = [
        1.5 * cake.cross_entropy(logits[n].tolist(), int(targets[n]))
        + 0.2 * scale_free.total_variation((images[n] * 0.3).tolist())
        + 0.4 * float(images[n].double().square().mean())
        + 3.0 * statistics
        + 2.0 * synthesis.agreement(logits[n].tolist(), student(images)[n].tolist())
        for n in range(4)
    ]
    with watch_statistics(teacher.network) as watch:
        found = sampler.loss(targets, watch, generator(0, "j"))(images)
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet"])
def test_shards_are_independent_and_as_stored(make_teacher, small_spec, colour_spec, check_shards,
                                              architecture):  # fmt: skip
    for spec in (small_spec, colour_spec):
        made = check_shards(DeepInversionConfig(**QUICK), make_teacher(architecture, spec=spec))
        assert torch.bincount(made[0].targets, minlength=4).tolist() == [3, 3, 3, 3]
        assert made[0].steps.tolist() == [4] * 12


def test_it_brings_statistics_nearer_to_the_remembered_ones(make_teacher):
    """What makes it more than DeepDream, which has the same loss without that term."""
    teacher = make_teacher()
    real = PRIORS["structured"](64, teacher.spec, generator(0, "real"))
    norms = [m for m in teacher.network.modules() if hasattr(m, "running_var")]
    for norm in norms:  # the statistics of images that are not noise
        norm.train()
        norm.momentum = None
        norm.reset_running_stats()
    teacher.network(real)
    for norm in norms:
        norm.eval()

    def distance(images):
        with watch_statistics(teacher.network) as watch:
            teacher(images)
            return statistics_distance(watch.take()).item()

    def made(weight):
        config = DeepInversionConfig(
            steps=40, statistics=weight, images_per_shard=24, batch=24, step_size=0.05
        )
        return config.build(teacher, count=24, seed=0).shard(0).images

    noise = PRIORS["gaussian"](24, teacher.spec, generator(0, "noise"))
    assert distance(made(10.0)) < 0.8 * distance(made(0.0))
    assert distance(made(10.0)) < 0.8 * distance(noise)


@pytest.mark.parametrize("coarse_share", [0.0, 0.5])
def test_it_lowers_its_own_loss(make_teacher, coarse_share):
    teacher = decided(make_teacher())
    config = DeepInversionConfig(
        **STILL, steps=30, statistics=1.0, coarse_share=coarse_share, images_per_shard=12, batch=12
    )
    sampler = config.build(teacher, count=12, seed=0)
    shard = sampler.shard(0)
    random = generator(0, "deep-inversion", 0)
    targets = even_targets(12, 4, random)
    start = PRIORS["gaussian"](12, teacher.spec, random)
    assert torch.equal(targets, shard.targets)
    with watch_statistics(teacher.network) as watch:
        loss = sampler.loss(targets, watch, generator(0, "j"))
        before, after = loss(start).mean(), loss(shard.images).mean()
    assert after < 0.5 * before


def test_the_adaptive_form_finds_what_the_rival_sees_otherwise(make_teacher, rival):
    teacher, student = decided(make_teacher()), make_teacher("test_resnet", seed=5)

    def agreed(competition):
        config = DeepInversionConfig(
            steps=30, rival=str(rival), competition=competition, images_per_shard=16, batch=16,
            classification=0.1, statistics=0.0,
        )  # fmt: skip
        shard = config.build(teacher, count=16, seed=0).shard(0)
        return agreement(shard.logits, student(shard.images), exclusive=True).mean()

    assert agreed(20.0) < agreed(0.0) - 0.02


def test_the_manifest_names_a_rival_by_its_hash_and_not_by_where_it_lies(rival, tmp_path):
    one = DeepInversionConfig(rival=str(rival)).to_dict()
    assert one["rival"] == "student.safetensors"
    assert len(one["rival_sha256"]) == 64
    (tmp_path / "elsewhere").mkdir()
    moved = rival.rename(tmp_path / "elsewhere" / rival.name)
    assert DeepInversionConfig(rival=str(moved)).to_dict() == one
    with pytest.raises(ArtifactError, match="is not a file"):
        DeepInversionConfig(rival=str(rival)).to_dict()


def test_a_rival_of_another_teacher_is_refused(make_teacher, small_spec, rival):
    teacher = make_teacher(spec=replace(small_spec, classes=7))
    with pytest.raises(UsageMistake, match=r"another teacher \(classes: 4, not 7\)"):
        DeepInversionConfig(rival=str(rival)).build(teacher, count=4, seed=0)


def test_without_statistics_it_says_so_and_names_samplers_that_work(make_teacher):
    teacher = make_teacher("test_vit")
    with pytest.raises(UsageMistake, match=r"work without: cake, .*forward-only") as caught:
        DeepInversionConfig().build(teacher, count=4, seed=0)
    assert "deep-inversion," not in str(caught.value)
    config = DeepInversionConfig(**QUICK, statistics=0.0)
    assert len(config.build(teacher, count=12, seed=0).shard(0)) == 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior": "gausian"}, "did you mean gaussian"),
        ({"steps": 0}, "at least 1"),
        ({"coarse_share": 1.0}, r"must lie in \[0, 1\)"),
        ({"statistics": -1.0}, "0 or more"),
        ({"step_size": 0.0}, "above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageMistake, match=words):
        DeepInversionConfig(**settings)


def test_without_the_statistics_term_nobody_watches_the_layers(make_teacher, monkeypatch):
    """What is watched and never taken would hold every step's activations."""

    def watched(network):
        raise AssertionError("watched")

    monkeypatch.setattr(deep_inversion, "watch_statistics", watched)
    config = DeepInversionConfig(**QUICK, statistics=0.0)
    assert len(config.build(make_teacher(), count=12, seed=0).shard(0)) == 12
    with pytest.raises(AssertionError, match="watched"):
        DeepInversionConfig(**QUICK).build(make_teacher(), count=12, seed=0).shard(0)
