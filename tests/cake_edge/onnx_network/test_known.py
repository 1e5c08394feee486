from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.known import MOST_KNOWN, Known, known_form


def test_floats_are_float32_as_in_a_runtime():
    known = Known((0.7 * 10, 0.1), 1, torch.float32)
    assert known.values == (7.0, torch.tensor(0.1).item())
    assert Known((1e300, -1e300), 1, torch.float32).values == (float("inf"), float("-inf"))


def test_it_becomes_a_tensor_of_the_type_that_is_computed_with():
    like = torch.empty(0, dtype=torch.float64)
    assert Known((0.5,), 0, torch.float32).tensor(like).dtype == torch.float64
    assert Known((1, 2), 1, torch.int32).tensor(like).dtype == torch.int32
    assert Known.vector([3, 4]).tensor(like).tolist() == [3, 4]
    assert Known.vector([]).tensor(like).shape == (0,)


def test_a_number_too_large_for_a_tensor_is_refused():
    with pytest.raises(TeacherError, match="64 bits"):
        Known((2**63,), 1, torch.int64)


def test_only_short_lists_have_a_known_form():
    assert known_form(torch.tensor(3)) == Known((3,), 0, torch.int64)
    assert known_form(torch.tensor([True])) == Known((True,), 1, torch.bool)
    assert known_form(torch.zeros(MOST_KNOWN + 1)) is None
    assert known_form(torch.zeros(2, 2)) is None
