from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.tensors import Layout, dense_tensor, plain_weight

DATA = torch.arange(12, dtype=torch.float32).numpy().tobytes()


def found_in(data, size, stride, offset):
    layout = Layout(dtype=torch.float32, size=size, stride=stride, offset=offset)
    return dense_tensor(data, layout, "w")


def test_a_tensor_comes_with_the_strides_it_was_saved_with():
    found = found_in(DATA, (3, 4), (1, 3), 0)
    assert found.stride() == (1, 3)
    assert torch.equal(found, torch.arange(12.0).reshape(4, 3).T)
    assert found_in(DATA, (2,), (1,), 10).tolist() == [10, 11]
    assert found_in(b"", (0, 3), (3, 1), 0).shape == (0, 3)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((13,), (1,), 0),
        ((12,), (1,), 1),
        ((3, 4), (5, 1), 0),
        ((1 << 40,), (0,), 0),
        ((1 << 60, 1 << 60), (0, 0), 0),
        ((-1,), (1,), 0),
        ((3,), (-1,), 2),
        ((3,), (1, 1), 0),
        ((3.0,), (1,), 0),
        ((True,), (1,), 0),
        ((1,) * 9, (1,) * 9, 0),
    ],
)
def test_a_tensor_beyond_its_bytes_is_refused(size, stride, offset):
    with pytest.raises(TeacherError, match="w is said to have"):
        found_in(DATA, size, stride, offset)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        torch.ones(2).to(torch.float8_e5m2),
        torch.ones(1).expand(1 << 22),
    ],
)
def test_what_is_no_dense_real_tensor_is_refused(tensor):
    with pytest.raises(TeacherError, match="w is"):
        plain_weight(tensor, "w")


def test_floats_become_float32_and_integers_stay():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert plain_weight(torch.ones(2, dtype=dtype), "w").dtype is torch.float32
    assert plain_weight(torch.ones(2, dtype=torch.int64), "w").dtype is torch.int64
