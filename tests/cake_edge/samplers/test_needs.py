import pytest

from cake_edge.errors import UsageMistake
from cake_edge.samplers import SAMPLERS
from cake_edge.samplers.needs import NEEDS, samplers_without


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
