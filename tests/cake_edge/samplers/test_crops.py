import torch

from cake_edge.samplers.crops import jittered, random_crops
from cake_edge.seeding import generator


def picture(count=64, side=16):
    """How far to the right and how far down a pixel lies, in [-1, 1]."""
    line = (torch.arange(side) * 2 + 1) / side - 1
    one = torch.stack([line.expand(side, side), line.view(-1, 1).expand(side, side)])
    return one.expand(count, -1, -1, -1).clone()


def test_crops_show_the_share_that_was_asked_for_and_stay_inside():
    made = random_crops(picture(), (0.25, 0.25), generator(0, "c"))
    assert made.shape == (64, 2, 16, 16)
    span = (made.amax((2, 3)) - made.amin((2, 3))) / 2
    torch.testing.assert_close(span, torch.full((64, 2), 0.5 * 15 / 16), atol=0.04, rtol=0)
    middle = made.mean((2, 3))
    assert middle.abs().max() <= 0.5 + 0.01
    assert middle.std() > 0.2


def test_half_of_them_are_mirrored():
    made = random_crops(picture(400), (0.5, 1.0), generator(0, "c"))
    mirrored = (made[:, 0, :, -1] < made[:, 0, :, 0]).all(1)
    assert 0.4 < mirrored.double().mean() < 0.6
    assert (made[:, 1, -1] > made[:, 1, 0]).all()


def test_the_whole_is_the_image_or_its_mirror_and_passes_gradients():
    images = picture(8).requires_grad_()
    made = random_crops(images, (1.0, 1.0), generator(0, "c"))
    same = ((made - images).abs() < 1e-4).all(3).all(2).all(1)
    mirror = ((made - images.flip(3)).abs() < 1e-4).all(3).all(2).all(1)
    assert (same | mirror).all()
    made.sum().backward()
    assert (images.grad != 0).all()


def test_jitter_rolls_all_images_alike_and_mirrors_half_of_the_time():
    images, random = picture(count=3), generator(0, "j")
    seen = [jittered(images, 0.125, random) for _ in range(40)]
    assert all(torch.equal(made[0], made[2]) for made in seen)
    rolled = {
        (down, across): torch.roll(images, (down, across), (2, 3))
        for down in range(-2, 3)
        for across in range(-2, 3)
    }
    straight = sum(any(torch.equal(made, like) for like in rolled.values()) for made in seen)
    mirrored = sum(
        any(torch.equal(made.flip(3), like) for like in rolled.values()) for made in seen
    )
    assert straight + mirrored == 40
    assert 8 < mirrored < 32
    assert any(torch.equal(made, images) is False for made in seen)


def test_small_images_are_rolled_by_a_pixel_and_none_where_none_is_asked_for():
    images, random = picture(count=2, side=8), generator(0, "j")
    seen = [jittered(images, 0.0625, random, flip=False) for _ in range(20)]
    assert any(not torch.equal(made, images) for made in seen)
    assert all(torch.equal(jittered(images, 0.0, random, flip=False), images) for _ in range(20))
