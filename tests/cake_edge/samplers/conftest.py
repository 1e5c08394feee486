"""What every sampler has to hold, and the teachers to hold it with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cake_edge.spec import ImageSpec
from cake_edge.storage import as_stored

COLOUR = ImageSpec(
    channels=3, height=32, width=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), classes=4
)


@pytest.fixture(scope="session")
def colour_spec() -> ImageSpec:
    return COLOUR


@pytest.fixture(scope="session")
def sigmoid_teacher(make_teacher, small_spec):
    return make_teacher("plain", spec=replace(small_spec, head="sigmoid"))


@pytest.fixture(scope="session")
def check_shards():
    """Checks what a pool counts on, of three shards of 12 images and one of 4."""

    def check(config, teacher):
        assert config.images_per_shard == 12
        state = torch.get_rng_state()
        sampler = config.build(teacher, count=40, seed=3)
        made = [sampler.shard(index) for index in range(4)]
        assert [len(shard) for shard in made] == [12, 12, 12, 4]
        # A shard made alone, by a sampler that made nothing before, as a resumed run does.
        alone = config.build(teacher, count=40, seed=3).shard(2)
        for field in ("images", "logits", "targets", "steps"):
            assert torch.equal(getattr(alone, field), getattr(made[2], field)), field
        assert not torch.equal(made[0].images, made[1].images)
        other = config.build(teacher, count=40, seed=4).shard(2)
        assert not torch.equal(other.images, alone.images)
        assert torch.equal(state, torch.get_rng_state())
        assert all(not module._forward_pre_hooks for module in teacher.modules())
        for shard in made:
            assert shard.images.shape[1:] == teacher.spec.input_size
            assert torch.isfinite(shard.images).all()
            torch.testing.assert_close(shard.logits, teacher(shard.images), rtol=1e-4, atol=1e-4)
            rounded = as_stored(shard.images, teacher.spec, config.stored)
            assert torch.equal(shard.images, rounded)
        return made

    return check
