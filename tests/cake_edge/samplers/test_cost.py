import pytest
import torch
from torch import nn

from cake_edge.samplers import SAMPLERS
from cake_edge.samplers.common import Cost
from cake_edge.samplers.cost import pool_cost
from cake_edge.teachers.frozen import FrozenTeacher

SMALL = {
    "cake": {"steps": 4, "oversample": 2, "images_per_shard": 16, "batch": 8},
    "cake-paper": {"steps": 3, "batch": 8, "tuple_size": 4},
    "cmi": {"steps": 3, "images_per_shard": 16, "batch": 8, "width": 8},
    "data-impressions": {"steps": 3, "images_per_shard": 16, "batch": 8},
    "deep-inversion": {"steps": 4, "images_per_shard": 16, "batch": 8, "statistics": 0.0},
    "forward-only": {"oversample": 3, "images_per_shard": 16, "batch": 8},
    "gdfq": {"train_steps": 3, "train_batch": 8, "images_per_shard": 16, "width": 8},
    "lake": {"steps": 3, "images_per_shard": 16, "batch": 8},
}


class Counted(nn.Module):
    """Counts the images that pass with and without a gradient."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.image_steps = self.looks = 0

    def forward(self, images):
        if torch.is_grad_enabled() and images.requires_grad:
            self.image_steps += len(images)
        else:
            self.looks += len(images)
        return self.network(images)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_cost_is_what_the_teacher_is_asked(make_teacher, small_spec, name):
    counted = Counted(make_teacher("plain").network)
    teacher = FrozenTeacher(counted, small_spec, architecture="counted")
    config, count = SAMPLERS[name](**SMALL[name]), 40
    sampler = config.build(teacher, count=count, seed=0)
    counted.image_steps = counted.looks = 0  # what is found out of a teacher before is not counted
    for index in range(-(-count // config.images_per_shard)):
        sampler.shard(index)
    found = Cost(image_steps=counted.image_steps, looks=counted.looks)
    wanted = pool_cost(config, count, 4)
    assert found.image_steps == wanted.image_steps
    assert found.total == pytest.approx(found.image_steps + 0.4 * found.looks)
    # Of every shard or batch, a sampler may look at a probe or two besides.
    assert 0 <= found.looks - wanted.looks <= 12
