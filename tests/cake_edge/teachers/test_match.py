from __future__ import annotations

import pytest
import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.teachers.match import match_by_name, match_by_order, order_problem, wanted_tensors


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ends = [name.rpartition(".")[2] for name in state]
    return {
        f"theirs{n}.{end}": t for n, (end, t) in enumerate(zip(ends, state.values(), strict=True))
    }


def test_by_name_pairs_every_tensor_whatever_the_order() -> None:
    state = net().state_dict()
    backwards = dict(reversed(state.items()))
    assert match_by_name(backwards, state, "x") == [(name, name) for name in state]


def test_by_order_pairs_the_nth_with_the_nth() -> None:
    state = net().state_dict()
    given = renamed(state)
    assert match_by_order(given, state, "x") == list(zip(given, state, strict=True))


def test_a_misfit_lists_keys_and_shapes_and_the_number_left_out() -> None:
    wanted = {f"w{n}": torch.zeros(n + 1) for n in range(8)}
    given = {"w0": torch.zeros(5), "extra": torch.zeros(1)}
    with pytest.raises(TeacherError) as caught:
        match_by_name(given, wanted, "small.pth does not fit test_resnet")
    assert str(caught.value) == (
        "small.pth does not fit test_resnet: 7 missing (w1, w2, w3, w4, and 3 more); "
        "1 unexpected (extra); 1 of another shape (w0 [5] in the file, [1] in the network). "
        "By order they do not fit either; name another architecture with --arch"
    )


def test_a_misfit_by_name_that_fits_by_order_says_so() -> None:
    state = net().state_dict()
    with pytest.raises(TeacherError, match="fit by order and shape: add --match order"):
        match_by_name(renamed(state), state, "x")


def test_by_order_names_the_first_place_whose_shapes_differ() -> None:
    state = net().state_dict()
    given = {**state, "1.bias": torch.zeros(5), "3.bias": torch.zeros(9)}
    with pytest.raises(TeacherError, match=r"position 4 the shapes differ, 1.bias \[5\]"):
        match_by_order(given, state, "x")


def test_by_order_refuses_another_number_of_tensors() -> None:
    state = net().state_dict()
    short = dict(list(state.items())[:-1])
    with pytest.raises(TeacherError, match="the file has 8 tensors, the network 9"):
        match_by_order(short, state, "x")


def test_by_order_refuses_batchnorm_vectors_that_changed_places() -> None:
    state = net().state_dict()
    sorted_by_name = dict(sorted(state.items()))
    assert [t.shape for t in sorted_by_name.values()][:2] != [t.shape for t in state.values()][:2]
    names = list(state)
    names[2], names[3] = names[3], names[2]
    swapped = {name: state[name] for name in names}
    assert [t.shape for t in swapped.values()] == [t.shape for t in state.values()]
    problem = order_problem(swapped, state)
    assert problem is not None
    assert "position 3 the kinds differ" in problem


def test_counters_are_asked_for_only_of_a_file_that_has_some() -> None:
    network = net()
    state = network.state_dict()
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert list(wanted_tensors(network, old)) == list(old)
    assert list(wanted_tensors(network, state)) == list(state)
