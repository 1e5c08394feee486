import pytest
import torch

from cake_edge.priors.base import to_normalised
from cake_edge.samplers.common import even_targets, finished, pixel_box, shard_size
from cake_edge.seeding import generator
from cake_edge.storage import as_stored


def test_targets_name_every_class_before_any_comes_again():
    targets = even_targets(11, 4, generator(0, "t"))
    assert [sorted(targets[k : k + 4].tolist()) for k in (0, 4)] == [[0, 1, 2, 3]] * 2
    assert len(targets) == 11
    assert len(set(targets[8:].tolist())) == 3


def test_the_last_shard_holds_what_is_left():
    assert [shard_size(10, 25, index) for index in range(3)] == [10, 10, 5]


def test_the_box_is_black_to_white(colour_spec):
    std, (black, white) = pixel_box(colour_spec, torch.device("cpu"))
    assert std.flatten().tolist() == torch.tensor(colour_spec.std).tolist()
    for bound, pixel in ((black, 0.0), (white, 1.0)):
        back = torch.from_numpy(colour_spec.denormalise(bound[0].numpy()))
        torch.testing.assert_close(back.flatten(), torch.full((3,), pixel))


@pytest.mark.parametrize("stored", ["uint8", "float16", "float32"])
def test_what_is_finished_is_judged_as_it_is_stored(make_teacher, small_spec, stored):
    teacher, targets = make_teacher("plain"), torch.arange(4)
    images = to_normalised(torch.rand((4, 1, 16, 16)), small_spec).requires_grad_()
    made = finished(teacher, images, targets, steps=7, batch=2, stored=stored)
    assert torch.equal(made.images, as_stored(images.detach(), small_spec, stored))
    assert torch.equal(made.images, images) == (stored == "float32")
    torch.testing.assert_close(made.logits, teacher(made.images))
    assert made.steps.tolist() == [7] * 4
    assert not made.images.requires_grad
