from __future__ import annotations

import numpy as np
import pytest

from cake_edge.errors import PoolError
from exporters.quantize.feed import LARGEST_BATCH, Feed


def numbered(spec, *counts):
    """A source of images that are constant, at 0, 1, 2, …"""

    def source():
        first = 0
        for count in counts:
            values = np.arange(first, first + count, dtype=np.float32)
            yield np.broadcast_to(values[:, None, None, None], (count, *spec.input_size))
            first += count

    return source


def seen(batches):
    return [int(image[0, 0, 0]) for batch in batches for image in batch]


def test_every_fourth_image_is_kept_apart_however_the_images_come(spec):
    for counts in [(12,), (5, 7), (1,) * 12]:
        feed = Feed(numbered(spec, *counts), spec, 100)
        assert seen(feed.kept_apart()) == [3, 7, 11]
        assert seen(feed.calibration()) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
        assert (feed.calibration_images, feed.checked_images) == (9, 3)


def test_no_more_than_asked_for_are_read(spec):
    feed = Feed(numbered(spec, 6, 6, 6), spec, 10)
    assert sorted(seen(feed.calibration()) + seen(feed.kept_apart())) == list(range(10))


def test_batches_are_small_and_never_empty(spec):
    feed = Feed(numbered(spec, 300, 1), spec, 1000)
    sizes = [len(batch) for batch in feed.calibration()]
    assert max(sizes) == LARGEST_BATCH
    assert min(sizes) > 0


def test_too_few_images_are_refused(spec):
    with pytest.raises(PoolError, match=r"7 images .* at least 8"):
        Feed(numbered(spec, 7), spec, 100)


@pytest.mark.parametrize("shape", [(8, 1, 20, 19), (8, 3, 20, 20), (1, 20, 20)])
def test_images_of_another_shape_are_refused(spec, shape):
    with pytest.raises(PoolError, match=r"\[N, 1, 20, 20\]"):
        Feed(lambda: iter([np.zeros(shape, np.float32)]), spec, 100)


def test_images_of_bytes_are_refused(spec):
    with pytest.raises(PoolError, match="uint8"):
        Feed(lambda: iter([np.zeros((8, *spec.input_size), np.uint8)]), spec, 100)
