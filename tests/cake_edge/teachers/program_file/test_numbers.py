from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.numbers import NUMERIC, calculate


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("add", [2, 3], 5),
        ("rsub", [2, 3], 1),
        ("floor_divide", [7, 2], 3),
        ("mod", [7, 4], 3),
        ("max", [2, 5], 5),
        ("ceil", [1.5], 2),
        ("sqrt", [9], 3.0),
        ("pow", [2, 10], 1024),
        ("ne", [2, 3], True),
        ("sym_int", [2.7], 2),
    ],
)
def test_numbers_are_calculated(name, values, result):
    assert calculate(name, values) == result


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mul", [1 << 62, 4]),
        ("pow", [10, 10**9]),
        ("pow", [2.0, 10000]),
        ("floordiv", [1, 0]),
        ("mul", [[0], 10**12]),
        ("mul", ["a", 10**12]),
        ("add", [torch.ones(1), 1]),
        ("sqrt", [-1]),
    ],
)
def test_what_has_no_bound_or_is_no_number_is_refused(name, values):
    with pytest.raises(TeacherError, match="the program calculates"):
        calculate(name, values)


def test_nothing_among_the_names_reaches_attributes():
    assert not {"attrgetter", "methodcaller", "itemgetter", "call", "lshift"} & set(NUMERIC)
