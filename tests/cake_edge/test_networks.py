from __future__ import annotations

import pytest
import torch

from cake_edge.errors import UsageMistake
from cake_edge.networks import (
    build_network,
    check_architecture,
    parameter_count,
    weights_digest,
)

SMALL = "test_resnet"


def small(seed=0, **keywords):
    return build_network(SMALL, **{"channels": 1, "classes": 4, "seed": seed, **keywords})


def test_a_network_takes_the_channels_and_gives_the_classes():
    logits = small(channels=2, classes=7).eval()(torch.zeros(3, 2, 32, 32))
    assert logits.shape == (3, 7)


def test_weights_come_from_the_seed_alone():
    first = weights_digest(small(seed=1))
    torch.rand(5)
    assert weights_digest(small(seed=1)) == first
    assert weights_digest(small(seed=2)) != first


def test_building_leaves_the_random_state_as_it_was():
    before = torch.get_rng_state()
    small(seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_arguments_reach_timm():
    narrow = build_network(
        "resnet10t", channels=1, classes=4, arguments={"channels": [8, 8, 8, 8], "stem_width": 8}
    )
    wide = build_network("resnet10t", channels=1, classes=4)
    assert parameter_count(narrow) < parameter_count(wide) / 10


@pytest.mark.parametrize("name", ["resnet81", "resnet18x.a1_in1k"])
def test_an_unknown_name_is_answered_with_near_ones(name):
    with pytest.raises(UsageMistake, match=rf"no architecture '{name}' \(did you mean .*resnet18"):
        build_network(name, channels=1, classes=4)


def test_a_name_far_from_all_gets_the_line_that_lists_them():
    with pytest.raises(UsageMistake, match=r"timm\.list_models"):
        check_architecture("zzzzzzzzzzz")


def test_a_tag_of_weights_is_part_of_a_known_name():
    check_architecture("resnet18.a1_in1k")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"no_such": 1}, "no_such"), ({"layers": "three"}, "layers"), ({"in_chans": 3}, "in_chans")],
)
def test_arguments_that_timm_refuses_are_named(arguments, message):
    with pytest.raises(UsageMistake, match=rf"timm cannot build .*{message}"):
        small(arguments=arguments)


def test_an_unknown_tag_of_weights_is_refused():
    with pytest.raises(UsageMistake, match="no_such_tag"):
        build_network("resnet18.no_such_tag", channels=3, classes=4)


def test_parameters_are_counted_without_buffers():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    network[0].bias.requires_grad_(False)
    assert parameter_count(network) == 3 * 4 + 4 + 4 + 4


def test_the_digest_sees_every_weight_buffer_name_and_shape():
    digests = set()
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    digests.add(weights_digest(network))
    network[1].running_mean += 1
    digests.add(weights_digest(network))
    network[0].weight.data[1, 1] += 1e-3
    digests.add(weights_digest(network))
    digests.add(weights_digest(torch.nn.ModuleDict({"a": network})))
    assert len(digests) == 4


def test_the_digest_does_not_see_memory_layout():
    network = small()
    before = weights_digest(network)
    assert weights_digest(network.to(memory_format=torch.channels_last)) == before
