from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.teachers.match import (
    Matched,
    Prefixes,
    find_prefixes,
    match_by_name,
    match_by_order,
    order_problem,
)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ends = [name.rpartition(".")[2] for name in state]
    return {
        f"theirs{n}.{end}": t for n, (end, t) in enumerate(zip(ends, state.values(), strict=True))
    }


def with_prefix(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def test_by_name_pairs_every_tensor_whatever_the_order() -> None:
    state = net().state_dict()
    backwards = dict(reversed(state.items()))
    assert match_by_name(backwards, state, "x") == ([(name, name) for name in state], [])


def test_by_order_pairs_the_nth_with_the_nth() -> None:
    state = net().state_dict()
    given = renamed(state)
    assert match_by_order(given, state, "x") == (list(zip(given, state, strict=True)), [])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("net.", ""), ("model.module.", ""), ("", "net."), ("a.b.", "net."), ("net.", "net.")],
)
def test_what_stands_before_all_names_does_not_matter(theirs: str, ours: str) -> None:
    state = net().state_dict()
    matched = match_by_name(with_prefix(theirs, state), with_prefix(ours, state), "x")
    assert matched.pairs == [(theirs + name, ours + name) for name in state]
    assert matched.left_out == []


def test_what_belongs_to_training_is_left_out_and_said() -> None:
    state = net().state_dict()
    beside = {"criterion.weight": torch.ones(2), "other.0.weight": torch.ones(3)}
    matched = match_by_name({**with_prefix("net.", state), **beside}, state, "x")
    assert matched.left_out == list(beside)
    assert [ours for _, ours in matched.pairs] == list(state)
    noise = {"0.total_ops": torch.ones(1), "n_averaged": torch.ones(1)}
    assert match_by_name({**state, **noise}, state, "x").left_out == list(noise)
    assert match_by_order({**renamed(state), **noise}, state, "x").left_out == list(noise)


def test_layers_that_the_network_lacks_are_not_left_out_in_silence() -> None:
    deeper = {**net().state_dict(), "4.weight": torch.ones(2, 2)}
    for prefix in ("", "net."):
        with pytest.raises(TeacherError, match=r"1 unexpected \((net\.)?4\.weight\)"):
            match_by_name(with_prefix(prefix, deeper), net().state_dict(), "x")


def test_of_two_copies_the_averaged_one_is_taken() -> None:
    state = net().state_dict()
    both = {**with_prefix("model.", state), **with_prefix("ema_model.module.", state)}
    assert find_prefixes(both, state, "x") == Prefixes("ema_model.module.", "")
    matched = match_by_name(both, state, "x")
    assert [theirs for theirs, _ in matched.pairs] == [f"ema_model.module.{n}" for n in state]
    assert matched.left_out == [f"model.{name}" for name in state]


def test_two_copies_of_which_none_is_averaged_are_refused() -> None:
    state = net().state_dict()
    both = {**with_prefix("student.", state), **with_prefix("teacher.", state)}
    with pytest.raises(TeacherError, match=r"2 times, under student\., teacher\."):
        match_by_name(both, state, "x")


def test_prefixes_are_found_where_a_part_of_the_names_is_missing() -> None:
    state = net().state_dict()
    part = with_prefix("net.", dict(list(state.items())[:-1]))
    with pytest.raises(TeacherError, match=r"^x: 1 missing \(3\.bias\)\. "):
        match_by_name(part, state, "x")


def test_a_tensor_of_unique_shape_may_stand_anywhere() -> None:
    state = net().state_dict()
    names = [*list(state)[-2:], *list(state)[:-2]]
    given = {f"x{place}.{n.rpartition('.')[2]}": state[n] for place, n in enumerate(names)}
    pairs = dict(match_by_order(given, state, "x").pairs)
    assert [pairs[theirs] for theirs in given] == names


def test_tensors_of_one_shape_may_not_change_places_with_others_between() -> None:
    state = {"a.weight": torch.ones(2), "b.weight": torch.ones(3), "c.weight": torch.ones(3, 3),
             "d.weight": torch.ones(2), "e.weight": torch.ones(3)}  # fmt: skip
    moved = {f"x.{name}": state[name] for name in ("b.weight", "a.weight", "d.weight", "e.weight")}
    moved["x.c.weight"] = state["c.weight"]
    with pytest.raises(TeacherError, match=r"position 1 the shapes differ, x\.b\.weight"):
        match_by_order(moved, state, "x")


def test_a_misfit_lists_keys_and_shapes_and_the_number_left_out() -> None:
    wanted = {f"w{n}": torch.zeros(n + 1) for n in range(8)}
    given = {"w0": torch.zeros(5), "extra": torch.zeros(1)}
    with pytest.raises(TeacherError) as caught:
        match_by_name(given, wanted, "small.pth does not fit test_resnet")
    assert str(caught.value) == (
        "small.pth does not fit test_resnet: 7 missing (w1, w2, w3, w4, and 3 more); "
        "1 unexpected (extra); 1 of another shape (w0 [5] in the file, [1] in the network). "
        "By order they do not fit either; name another architecture with --arch, "
        "or give it other --arguments"
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
    with pytest.raises(TeacherError, match="the file has 7 tensors, the network 8"):
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


@pytest.mark.parametrize("match", [match_by_name, match_by_order])
def test_counters_are_taken_where_the_file_has_them_and_not_missed(
    match: Callable[..., Matched],
) -> None:
    state = net().state_dict()
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert match(old, state, "x") == ([(name, name) for name in old], [])
    assert match(state, state, "x") == ([(name, name) for name in state], [])
    assert match(state, old, "x").left_out == ["1.num_batches_tracked"]
