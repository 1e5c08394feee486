from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.operators import (
    FACTORIES,
    OPERATORS,
    at_inference,
    is_in_place,
    operator,
    takes_tensor_only,
)


def schemas():
    for name in sorted(OPERATORS):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            yield name, overload, getattr(packet, overload)._schema


def test_an_allowed_operator_writes_into_nothing_unless_its_name_says_so():
    for name, overload, schema in schemas():
        writes = any(a.is_write for a in schema.arguments)
        if writes and name != "_native_batch_norm_legit":
            with pytest.raises(TeacherError, match="writes into its argument"):
                operator(name, overload)


def test_no_allowed_operator_draws_random_numbers_or_names_a_file():
    dropouts = {
        "dropout",
        "native_dropout",
        "feature_dropout",
        "alpha_dropout",
    }  # off, at inference
    tagged = {n for n in OPERATORS if torch.Tag.nondeterministic_seeded in tags(n)}
    assert tagged <= dropouts | {"scaled_dot_product_attention", "lstm"}
    for _, _, schema in schemas():
        assert not {a.name for a in schema.arguments} & {"filename", "generator"}


def tags(name):
    packet = getattr(torch.ops.aten, name, None)
    return [t for o in (packet.overloads() if packet else ()) for t in getattr(packet, o).tags]


def test_every_operator_that_makes_a_tensor_of_numbers_is_told_the_device():
    makers = set()
    for name, overload, schema in schemas():
        kinds = " ".join(str(a.type) for a in schema.arguments)
        makes = "Device" in kinds and "Tensor" not in kinds and "out" not in overload
        if makes and str(schema.returns[0].type) == "Tensor":
            makers.add(name)
    assert makers == FACTORIES


@pytest.mark.parametrize(
    "name", ["from_file", "save", "item", "rand", "set_", "resize_", "as_strided", "__class__", ""]
)
def test_other_names_are_refused(name):
    with pytest.raises(TeacherError, match="which is not among the"):
        operator(name)


def test_batch_normalisation_and_dropout_are_set_to_inference():
    one = torch.ones(3)
    args = [torch.ones(2, 3), None, None, one, one, True, 0.1, 1e-5, True]
    changed, _, trained = at_inference("batch_norm", args, {})
    assert trained
    assert changed[5] is False
    assert at_inference("dropout_", [one, 0.5, True], {}) == ([one, 0.5, False], {}, True)
    assert at_inference("dropout", [one, 0.5], {"train": True})[1] == {"train": False}
    assert at_inference("scaled_dot_product_attention", [one, one, one, None, 0.3], {})[0][4] == 0
    assert at_inference("relu", [one], {}) == ([one], {}, False)


def test_normalising_a_weight_by_its_own_statistics_stays():
    args = [torch.ones(1, 3, 4), None, None, None, None, True, 0.0, 1e-5, False]
    assert at_inference("batch_norm", args, {})[0][5] is True


def test_a_name_tells_whether_it_writes_in_place():
    assert is_in_place("relu_")
    assert not is_in_place("relu")
    assert not is_in_place("__and__")


def test_where_a_number_will_do_for_a_tensor_is_known():
    assert takes_tensor_only("maximum", 1)
    assert not takes_tensor_only("add", 1)
    assert not takes_tensor_only("softmax", 1)
