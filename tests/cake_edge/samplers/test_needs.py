import pytest
import torch
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.pool import synthesize
from cake_edge.samplers import SAMPLERS, CakeConfig
from cake_edge.samplers.needs import NEEDS, samplers_without
from cake_edge.teachers.frozen import FrozenTeacher


def test_every_sampler_states_its_needs():
    assert set(NEEDS) == set(SAMPLERS)


def test_a_sentence_names_those_that_work_without():
    assert samplers_without("gradients") == "forward-only"
    assert "deep-inversion" not in samplers_without("statistics")
    assert "cake" in samplers_without("linear head").split(", ")


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_without_statistics_among_its_needs_builds_where_there_are_none(
    make_teacher, name
):
    settings = {"tuple_size": 2, "batch": 4} if name == "cake-paper" else {}
    config = SAMPLERS[name](**settings)
    if "statistics" in NEEDS[name]:
        with pytest.raises(UsageMistake, match="samplers that work without: cake,"):
            config.build(make_teacher("plain"), count=4, seed=0)
    else:
        assert config.build(make_teacher("plain"), count=4, seed=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_for_exclusive_classes_alone_refuses_others(sigmoid_teacher, name):
    settings = {"statistics": 0.0} if name == "deep-inversion" else {}
    config = SAMPLERS[name](**settings)
    if "exclusive classes" in NEEDS[name]:
        with pytest.raises(UsageMistake, match="sigmoid"):
            config.build(sigmoid_teacher, count=4, seed=0)
    else:
        assert config.build(sigmoid_teacher, count=4, seed=0)


class Unrecorded(nn.Module):
    """A classifier that computes without recording how, as a factory's may."""

    def forward(self, images):
        with torch.no_grad():
            return images.flatten(1)[:, :4] * 8


class Detached(nn.Module):
    """A classifier whose answer hangs on a variable of its own, and not on the images."""

    def forward(self, images):
        return images.detach().flatten(1)[:, :4].clone().requires_grad_() * 8


@pytest.mark.parametrize("name", SAMPLERS)
def test_where_no_gradient_reaches_the_images_a_pool_is_refused_before_it_is_begun(
    small_spec, tmp_path, name
):
    small = {"cake-paper": {"tuple_size": 2, "batch": 4}, "deep-inversion": {"statistics": 0.0}}
    teacher = FrozenTeacher(Unrecorded(), small_spec, architecture="unrecorded")
    config, out = SAMPLERS[name](**small.get(name, {})), tmp_path / "p"
    if name == "data-impressions":  # which needs a linear head besides, and looks for that first
        with pytest.raises(UsageMistake, match="linear"):
            synthesize(teacher, config, out, count=8, seed=0)
    elif "gradients" in NEEDS[name]:
        with pytest.raises(UsageMistake, match="that work without: forward-only"):
            synthesize(teacher, config, out, count=8, seed=0)
    else:
        assert len(synthesize(teacher, config, out, count=8, seed=0)) == 8
    assert out.exists() == ("gradients" not in NEEDS[name])


def test_a_gradient_that_goes_elsewhere_is_none(small_spec, tmp_path):
    teacher = FrozenTeacher(Detached(), small_spec, architecture="detached")
    with torch.enable_grad(), pytest.raises(UsageMistake, match="none reaches them"):
        synthesize(teacher, CakeConfig(), tmp_path / "p", count=8, seed=0)


def test_a_pool_of_prior_images_alone_needs_no_gradient(small_spec, tmp_path):
    teacher = FrozenTeacher(Unrecorded(), small_spec, architecture="unrecorded")
    with pytest.raises(UsageMistake, match="or --set pushed_share=0"):
        synthesize(teacher, CakeConfig(), tmp_path / "p", count=8, seed=0)
    synthesize(teacher, CakeConfig(pushed_share=0.0), tmp_path / "p", count=8, seed=0)
