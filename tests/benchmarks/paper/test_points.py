from dataclasses import replace

import click
import pytest

from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.points import BASES, numbers, over_seeds, sound_precision
from benchmarks.paper.rows import ROWS, Network


def test_a_data_set_is_compared_on_a_row_of_its_own():
    assert all(ROWS[name].dataset == dataset for dataset, name in BASES.items())


def test_numbers_are_read_from_a_list():
    assert numbers(None, None, "0,1,20") == (0, 1, 20)


@pytest.mark.parametrize("text", ["", "1,", "1;2", "one", "1,1", "-1"])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(click.BadParameter):
        numbers(None, None, text)


def test_bfloat16_is_taken_where_its_gradients_are_right_alone():
    student = Network(name="cake_small_resnet", arguments={"width": 8})
    assert sound_precision(student, FASHION_MNIST) == "bfloat16"
    # Of sixteen pixels the last stage sees one, and strides over it.
    tiny = replace(FASHION_MNIST, height=16, width=16)
    assert sound_precision(student, tiny) == "float32"


def test_one_seed_has_no_deviation():
    assert over_seeds([3]) == {"mean": 3.0, "deviation": None}
    assert over_seeds([1, 2, 3]) == {"mean": 2.0, "deviation": 1.0}
