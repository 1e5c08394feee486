import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cake_edge.pool import synthesize
from cake_edge.samplers import CakeConfig
from cake_edge.stored_images import HeldImages

QUICK = CakeConfig(
    steps=2, snapshots=1, oversample=1, images_per_shard=16, batch=16, stored="uint8"
)
KINDS = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}


@pytest.fixture(scope="module", params=KINDS)
def pool(request, make_teacher, tmp_path_factory):
    config = replace(QUICK, stored=request.param)
    folder = tmp_path_factory.mktemp("pools") / "p"
    return synthesize(make_teacher("plain"), config, folder, count=40, seed=0)


def test_images_are_gathered_as_the_shards_have_them_whatever_they_are_stored_as(pool):
    whole = torch.cat([shard.images for shard in pool.shards()])
    index = torch.tensor([39, 0, 15, 16, 16, 31, 32])
    for source in (pool.images(), copy.copy(pool.images())):
        found = source.gather(index)
        assert found.dtype == torch.float32
        assert torch.equal(found, whole[index])


def test_what_is_held_stays_small_and_is_read_back_the_same(pool):
    mapped, kind = pool.images(), KINDS[pool.about["config"]["stored"]]
    held = HeldImages(mapped.copy_to(torch.device("cpu")), pool.spec)
    assert held.images.dtype == kind
    assert mapped.nbytes == held.images.nbytes == 40 * 16 * 16 * kind.itemsize
    index = torch.tensor([7, 39, 7, 20])
    assert len(held) == len(mapped) == 40
    assert torch.equal(held.gather(index), mapped.gather(index))
    nothing = torch.zeros(0, dtype=torch.int64)
    assert held.gather(nothing).shape == mapped.gather(nothing).shape == (0, *pool.spec.input_size)


def test_a_shard_takes_the_bytes_that_the_formula_of_the_docs_says(pool):
    file = pool.path / "shard-00000.safetensors"
    each = KINDS[pool.about["config"]["stored"]].itemsize * 16 * 16 + 4 * 4 + 16
    assert load_file(file)["images"].dtype == KINDS[pool.about["config"]["stored"]]
    assert 0 <= file.stat().st_size - 16 * each < 512  # the header
