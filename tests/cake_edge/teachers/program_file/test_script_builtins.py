from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.network import Run
from cake_edge.teachers.program_file.script_builtins import call_torch


@pytest.fixture
def run():
    return Run({}, torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "result"),
    [
        ("add", [2, 3], {"alpha": 2}, 8),
        ("rsub", [2, 3, 1], {}, 1),
        ("div", [7, 2], {"rounding_mode": "floor"}, 3),
        ("mul_", [2, 3], {}, 6),
        ("add", [[1], [2]], {}, [1, 2]),
        ("eq", ["a", "b"], {}, False),
        ("ne", [[1, 2], [1, 2]], {}, False),
        ("clamp", [5], {"max": 3}, 3),
        ("clamp_min", [-5, 0], {}, 0),
        ("to", [2, 6], {}, 2.0),
        ("Int", [2.5], {}, 2),
        ("format", ["{}", 3], {}, "{}"),
    ],
)
def test_plain_values_are_put_to_python(run, name, args, kwargs, result):
    assert call_torch(run, name, args, kwargs) == result


def test_tensors_are_put_to_operators(run):
    x = torch.tensor([1.0, -2.0])
    assert call_torch(run, "add", [x, 1], {}).tolist() == [2, -1]
    assert call_torch(run, "slice", [x, 0, 1], {}).tolist() == [-2]
    assert call_torch(run, "any", [x > 0], {}).item() is True
    assert call_torch(run, "to", [x, 4], {}).dtype is torch.int64
    assert call_torch(run, "tensor", [3], {"dtype": 6}).dtype is torch.float32


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Int", [torch.ones(1)]),
        ("bernoulli_", [torch.ones(1)]),
        ("item", [torch.ones(1)]),
        ("from_file", ["a"]),
        ("mul", [[0] * 100, 1000]),
        ("tensor", [[[1]]]),
        ("_set_item", [{}, (1,), 2]),
    ],
)
def test_the_rest_is_refused(run, name, args):
    with pytest.raises(TeacherError):
        call_torch(run, name, args, {})
