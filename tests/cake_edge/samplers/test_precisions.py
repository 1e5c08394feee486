"""What a sampler makes does not hang on the context in which a pool has it made."""

import pytest
import torch

from cake_edge.pool import synthesize
from cake_edge.samplers import SAMPLERS

SETTINGS = {
    "cake": {"steps": 4, "oversample": 2, "jitter": 0.0, "contrast": (0.1, 0.2)},
    "cake-paper": {"steps": 4, "batch": 12, "tuple_size": 4},
    "cmi": {"steps": 4, "batch": 12, "width": 8},
    "data-impressions": {"steps": 4},
    "deep-inversion": {"steps": 4},
    "forward-only": {"oversample": 2},
    "gdfq": {"train_steps": 4, "train_batch": 8, "width": 8},
    "lake": {"steps": 4, "tuple_size": 4},
}


def config_of(name, **settings):
    part = {} if name == "cake-paper" else {"images_per_shard": 12}
    return SAMPLERS[name](**{**part, **SETTINGS[name], **settings})


def test_every_sampler_is_asked():
    assert SETTINGS.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_pool_holds_what_the_sampler_makes(name, make_teacher, colour_spec, tmp_path):
    teacher, config = make_teacher(spec=colour_spec), config_of(name)
    pool = synthesize(teacher, config, tmp_path / "p", count=24, seed=3)
    sampler = config.build(teacher, count=24, seed=3)
    for index, stored in enumerate(pool.shards()):
        made = sampler.shard(index)
        assert torch.equal(made.images, stored.images)
        assert torch.equal(made.targets, stored.targets)
