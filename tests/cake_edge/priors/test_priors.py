import pytest
import torch

from cake_edge.precision import mixed
from cake_edge.priors import PRIORS
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec


def spec_of(channels, height, width):
    return ImageSpec(
        channels=channels, height=height, width=width,
        mean=(0.45,) * channels, std=(0.25,) * channels, classes=10,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRIORS))
@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 48), (3, 8, 8), (4, 17, 9)])
def test_every_prior_draws_any_shape(name, size):
    images = PRIORS[name](5, spec_of(*size), generator(0, name))
    assert images.shape == (5, *size)
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("name", sorted(PRIORS))
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 2)])
def test_an_image_of_a_few_pixels_is_one_too(name, size):
    assert torch.isfinite(PRIORS[name](3, spec_of(*size), generator(0, name))).all()


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_no_images_are_asked_for_and_none_are_drawn(name):
    assert PRIORS[name](0, spec_of(3, 16, 16), generator(0, name)).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_nothing_is_made_on_another_device_than_the_generator_s(name):
    spec = spec_of(3, 32, 48)
    wanted = PRIORS[name](9, spec, generator(0, "a"))
    with torch.device("meta"):  # what is made without saying where has no values now
        assert torch.equal(PRIORS[name](9, spec, generator(0, "a")), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(PRIORS))
def test_a_prior_draws_where_its_generator_is(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    spec = spec_of(3, 32, 48)
    one, again = (PRIORS[name](9, spec, generator(0, "a", device="cuda")) for _ in range(2))
    assert one.device.type == "cuda"
    assert torch.isfinite(one).all()
    assert torch.equal(one, again)


@pytest.mark.parametrize("name", sorted(set(PRIORS) - {"gaussian"}))
def test_structured_priors_give_pixels_that_a_camera_can_give(name):
    spec = spec_of(3, 24, 24)
    pixels = spec.denormalise(PRIORS[name](64, spec, generator(1, name)).numpy())
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5
    assert pixels.std() > 0.1


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_a_prior_depends_on_its_generator_alone(name):
    spec = spec_of(1, 16, 16)
    state = torch.get_rng_state()
    one = PRIORS[name](7, spec, generator(0, "a"))
    assert torch.equal(one, PRIORS[name](7, spec, generator(0, "a")))
    assert not torch.equal(one, PRIORS[name](7, spec, generator(0, "b")))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_images_of_a_prior_differ_from_one_another(name):
    images = PRIORS[name](40, spec_of(1, 28, 28), generator(0, "x"))
    assert len({tuple(image.flatten().tolist()) for image in images}) == 40


def test_structured_images_are_smoother_than_noise_and_many_are_mirror_symmetric():
    images = PRIORS["shapes"](200, spec_of(1, 32, 32), generator(0, "x"))
    neighbours = (images[..., 1:] - images[..., :-1]).abs().mean()
    strangers = (images[..., 16:] - images[..., :16]).abs().mean()
    assert neighbours < 0.5 * strangers
    asymmetry = (images - images.flip(-1)).abs().mean((1, 2, 3))
    spread = (images - images.mean((1, 2, 3), keepdim=True)).abs().mean((1, 2, 3))
    assert 0.15 < float((asymmetry < 0.3 * spread).double().mean()) < 0.9


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_the_precision_of_the_teacher_changes_no_image(name):
    spec = spec_of(3, 32, 48)
    wanted = PRIORS[name](9, spec, generator(0, "a"))
    with mixed("bfloat16", torch.device("cpu")):
        assert torch.equal(PRIORS[name](9, spec, generator(0, "a")), wanted)
