from dataclasses import replace

import pytest
import torch

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.priors.base import to_normalised
from cake_edge.samplers import SAMPLERS
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.storage import as_stored, check_stored, decoded, encoded

IMAGENET = ImageSpec(
    channels=3, height=8, width=8,
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), classes=4,
)  # fmt: skip
BYTES = replace(IMAGENET, mean=(0.0,) * 3, std=(1 / 255,) * 3)
CENTRED = replace(IMAGENET, mean=(0.5,) * 3, std=(0.5,) * 3)
SPECS = pytest.mark.parametrize("spec", [IMAGENET, BYTES, CENTRED])


@SPECS
def test_every_level_is_read_back_as_the_pixel_it_stands_for(spec):
    levels = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8).repeat(1, 3, 1, 1)
    images = decoded(levels, spec)
    assert images.dtype == torch.float32
    wanted = torch.from_numpy(spec.normalise(levels.numpy() / 255.0))
    torch.testing.assert_close(images, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(encoded(images, spec, "uint8"), levels)


@SPECS
def test_a_byte_moves_no_pixel_by_more_than_half_a_level(spec):
    pixels = torch.rand((16, 3, 8, 8), generator=generator(0, "pixels"))
    pixels[0], pixels[1] = 0.0, 1.0
    images = to_normalised(pixels, spec)
    back = torch.from_numpy(spec.denormalise(as_stored(images, spec, "uint8").numpy()))
    assert (back - pixels).abs().max() <= 0.5 / 255 + 1e-6
    assert (back - pixels).abs().max() > 0.4 / 255
    torch.testing.assert_close(back[:2], pixels[:2], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [("uint8", torch.uint8), ("float16", torch.float16), ("float32", torch.float32)],
)
def test_what_is_read_back_is_stored_again_as_it_was(stored, kind):
    images = to_normalised(torch.rand((4, 3, 8, 8), generator=generator(1, "x")), IMAGENET)
    kept = encoded(images, IMAGENET, stored)
    assert kept.dtype == kind
    assert torch.equal(encoded(decoded(kept, IMAGENET), IMAGENET, stored), kept)
    assert torch.equal(decoded(kept, IMAGENET), as_stored(images, IMAGENET, stored))


@pytest.mark.parametrize("pixel", [-0.01, 1.01, float("nan")])
def test_a_pixel_that_no_byte_holds_is_refused_and_not_cut(pixel):
    pixels = torch.full((2, 3, 8, 8), 0.5)
    pixels[1, 2, 3, 4] = pixel
    images = to_normalised(pixels, IMAGENET)
    with pytest.raises(NumericsError, match=r"set stored to float16 or float32"):
        encoded(images, IMAGENET, "uint8")
    assert encoded(images, IMAGENET, "float16").isnan().sum() == (pixel != pixel)


def test_a_rounding_error_beyond_black_or_white_is_none():
    pixels = torch.tensor([-1e-6, 1 + 1e-6]).view(2, 1, 1, 1).repeat(1, 3, 8, 8)
    kept = encoded(to_normalised(pixels, IMAGENET), IMAGENET, "uint8")
    assert kept.flatten(1).unique(dim=1).flatten().tolist() == [0, 255]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_names_what_it_can_be_stored_as(name):
    with pytest.raises(UsageMistake, match="'int4'; allowed: uint8, float16, float32"):
        SAMPLERS[name](stored="int4")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("cake-paper", {}), ("lake", {}), ("lake", {"prior": "structured"}),
     ("cake", {"prior": "gaussian"}), ("forward-only", {"prior": "gaussian"})],
)  # fmt: skip
def test_images_that_leave_black_and_white_are_not_stored_as_bytes(name, settings):
    with pytest.raises(UsageMistake, match=r"go(es)? beyond them; choose float16 or float32"):
        SAMPLERS[name](stored="uint8", **settings)
    assert SAMPLERS[name](stored="float16", **settings).stored == "float16"


SMALL = {
    "cake": {"steps": 2, "oversample": 1, "images_per_shard": 12, "batch": 12},
    "cmi": {"steps": 2, "images_per_shard": 12, "batch": 12, "width": 8},
    "data-impressions": {"steps": 2, "images_per_shard": 12, "batch": 12},
    "deep-inversion": {"steps": 2, "images_per_shard": 12, "batch": 12, "statistics": 0.0},
    "forward-only": {"oversample": 2, "images_per_shard": 12, "batch": 12},
    "gdfq": {"train_steps": 2, "train_batch": 8, "images_per_shard": 12, "width": 8},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_others_judge_what_the_bytes_say(make_teacher, name):
    teacher = make_teacher("plain")
    config = SAMPLERS[name](stored="uint8", **SMALL[name])
    shard = config.build(teacher, count=12, seed=0).shard(0)
    assert torch.equal(shard.images, as_stored(shard.images, teacher.spec, "uint8"))
    torch.testing.assert_close(shard.logits, teacher(shard.images), rtol=1e-4, atol=1e-4)


def test_a_setting_that_fits_says_nothing():
    check_stored("uint8")
    check_stored("float32", "they go beyond them")
