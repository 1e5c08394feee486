from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cake_edge.pictures import write_sheets
from cake_edge.pool import synthesize
from cake_edge.samplers import CakeConfig
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher

RGB = ImageSpec(
    channels=3, height=16, width=16, mean=(0.2, 0.4, 0.6), std=(0.3, 0.4, 0.5), classes=2
)
SAMPLER = CakeConfig(steps=2, snapshots=1, oversample=1, images_per_shard=12, batch=12)


class Any(nn.Module):
    """Tells bright images from dark ones."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, -mean], 1)


@pytest.fixture
def sheets(tmp_path):
    def sheets(spec, name):
        teacher = FrozenTeacher(Any(), spec, architecture="any")
        pool = synthesize(teacher, SAMPLER, tmp_path / name, count=12, seed=0)
        written = write_sheets(pool, tmp_path / name / "images")
        assert [entry["file"] for entry in written] == ["images/prior.png", "images/pushed.png"]
        return pool, Image.open(tmp_path / name / "images" / "prior.png")

    return sheets


def test_a_sheet_shows_the_pool_s_images_in_their_colours(sheets):
    pool, sheet = sheets(RGB, "rgb")
    first = next(pool.shards()).images[0].numpy()
    pixels = np.clip(np.round(RGB.denormalise(first) * 255), 0, 255).transpose(1, 2, 0)
    scale = sheet.width // (8 * 18)
    shown = np.asarray(sheet)[::scale, ::scale][:16, :16]
    assert np.array_equal(shown, pixels)


def test_a_sheet_shows_red_as_red_where_blue_comes_first(sheets):
    pool, sheet = sheets(replace(RGB, colour="bgr"), "bgr")
    first = next(pool.shards()).images[0].numpy()
    pixels = np.clip(np.round(RGB.denormalise(first) * 255), 0, 255).transpose(1, 2, 0)
    scale = sheet.width // (8 * 18)
    shown = np.asarray(sheet)[::scale, ::scale][:16, :16]
    assert np.array_equal(shown, pixels[..., ::-1])
    assert not np.array_equal(shown, pixels)
