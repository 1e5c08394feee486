import numpy as np

from cake_edge.pipeline import demo_recipe, pool_images
from cake_edge.pool import synthesize
from cake_edge.samplers import CakeConfig


def test_calibration_takes_as_many_images_from_every_shard_and_of_every_kind(
    make_teacher, tmp_path
):
    config = CakeConfig(steps=2, snapshots=2, oversample=1, images_per_shard=24, batch=24)
    pool = synthesize(make_teacher("plain"), config, tmp_path / "p", count=96, seed=0)
    arrays = list(pool_images(pool, 5, 40))
    assert max(len(array) for array in arrays) <= 5
    taken = np.concatenate(arrays)
    assert len(taken) == 40
    shards = list(pool.shards())
    origin = [
        (number, place)
        for image in taken
        for number, shard in enumerate(shards)
        for place, stored in enumerate(shard.images.numpy())
        if np.array_equal(image, stored)
    ]
    assert [sum(number == n for number, _ in origin) for n in range(4)] == [10] * 4
    pushed = [bool(shards[number].steps[place] > 0) for number, place in origin]
    assert 5 < sum(pushed) < 25


def test_the_demo_is_the_embedded_teacher_and_its_test_images():
    recipe = demo_recipe()
    assert recipe.teacher.reference.startswith("embedded")
    assert recipe.evaluation.data is not None
    assert recipe.evaluation.data.endswith("eval.npz")
