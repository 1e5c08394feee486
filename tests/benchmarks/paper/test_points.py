from dataclasses import replace

import click
import pytest

from benchmarks.paper.data import FASHION_MNIST
from benchmarks.paper.points import BASES, measured, numbers, over_seeds, sound_precision
from benchmarks.paper.rows import ROWS, Network
from cake_edge.errors import OutputExists


def made(small, tmp_path, row=None, place="a", workers=1):
    return measured(
        row or small.row, small.teacher, tmp_path / place, tmp_path,
        seed=0, workers=workers,
    )  # fmt: skip


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


def test_a_point_is_made_once_and_then_read(small, tmp_path):
    first = made(small, tmp_path)
    assert made(small, tmp_path) == first
    assert len(small.trained) == 1
    assert first["images"] == 20
    assert first["views"] == 2 * 8
    assert first["n"] == 40
    assert 0 <= first["agreement"] <= 100


def test_a_point_of_other_settings_is_not_taken_for_this_one(small, tmp_path):
    made(small, tmp_path)
    other = replace(small.row, training=replace(small.row.training, steps=3))
    with pytest.raises(OutputExists, match=r"different: training\).*another --out"):
        made(small, tmp_path, other)


def test_students_of_one_pool_have_its_seconds_though_it_was_made_for_the_first(small, tmp_path):
    first = made(small, tmp_path)
    other = replace(small.row, training=replace(small.row.training, steps=3))
    second = made(small, tmp_path, other, place="b")
    assert first["synthesis_seconds"] == second["synthesis_seconds"]
    assert first["views"] != second["views"]


def test_one_seed_has_no_deviation():
    assert over_seeds([3]) == {"mean": 3.0, "deviation": None}
    assert over_seeds([1, 2, 3]) == {"mean": 2.0, "deviation": 1.0}
