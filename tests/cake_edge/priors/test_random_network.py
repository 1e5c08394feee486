import pytest
import torch

from cake_edge.priors import random_network
from cake_edge.priors.random_network import IMAGES, _sizes
from cake_edge.seeding import generator


@pytest.mark.parametrize(
    ("size", "coarsest", "levels"),
    [((32, 32), (4, 4), 4), ((224, 224), (7, 7), 6), ((17, 9), (9, 5), 2), ((3, 3), (3, 3), 1)],
)
def test_a_network_doubles_its_size_until_it_is_the_picture_s(size, coarsest, levels):
    sizes = _sizes(*size)
    assert sizes[0] == coarsest
    assert sizes[-1] == size
    assert len(sizes) == levels


def test_pictures_have_structure_and_no_frame(spec_of):
    images = random_network(200, spec_of(3, 32, 32), generator(0, "x"))
    neighbours = (images[..., 1:] - images[..., :-1]).abs().mean()
    strangers = (images[..., 16:] - images[..., :16]).abs().mean()
    assert neighbours < 0.8 * strangers
    # Padding would make borders unlike the rest, the same way in every picture of a network.
    change = (images - images.mean((2, 3), keepdim=True)).abs().mean((0, 1))
    border = torch.cat([change[0], change[-1], change[:, 0], change[:, -1]]).mean()
    assert border == pytest.approx(float(change[8:24, 8:24].mean()), rel=0.1)


def test_pictures_of_one_network_are_of_a_kind(spec_of):
    """The grain is the network's: alike among its own pictures, unlike others'."""
    images = random_network(40 * IMAGES, spec_of(1, 32, 32), generator(0, "x"))
    grain = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3)) / images.std((1, 2, 3))
    grouped = grain.view(40, IMAGES)
    assert grouped.var(1).mean() < 0.5 * grain.var()


@pytest.mark.parametrize("count", [1, IMAGES - 1, IMAGES + 1])
def test_any_number_of_pictures_is_drawn(spec_of, count):
    assert len(random_network(count, spec_of(1, 16, 16), generator(0, "x"))) == count
