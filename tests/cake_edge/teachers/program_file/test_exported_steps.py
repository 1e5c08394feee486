from __future__ import annotations

import pytest

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.exported_steps import Reference, read_steps


def node(target, *args, output="y"):
    return {
        "target": target,
        "inputs": [{"name": f"a{n}", "arg": arg, "kind": 1} for n, arg in enumerate(args)],
        "outputs": [{"as_tensor": {"name": output}}],
    }


X = {"as_tensor": {"name": "x"}}


def test_a_value_is_freed_at_its_last_use():
    nodes = [
        node("torch.ops.aten.relu.default", X, output="a"),
        node("torch.ops.aten.relu.default", {"as_tensor": {"name": "a"}}, output="b"),
        node("torch.ops.aten.add.Tensor", X, {"as_tensor": {"name": "b"}}),
    ]
    steps = read_steps({"nodes": nodes}, {"x"}, "y")
    assert [step.frees for step in steps] == [(), ("a",), ("b", "x")]
    assert steps[2].args == (Reference("x"), Reference("b"))


def test_checks_of_the_exporter_are_left_out():
    nodes = [
        {**node("torch.ops.aten._assert_tensor_metadata.default", X), "outputs": []},
        node("torch.ops.aten.relu.default", X),
    ]
    assert [s.name for s in read_steps({"nodes": nodes}, {"x"}, "y")] == ["relu"]


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten.rand.default",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.relu.__class__",
        "torch.ops.aten.relu.out",
        "torch.ops.aten.__class__.default",
        "torch.ops.prim.device.default",
        "torch.ops.mine.op.default",
        "torch.ops.load_library",
        "torch.ops.higher_order.cond",
        "torch.hub.load",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "_operator.call",
        "math.__loader__",
        "math.factorial",
        "builtins.eval",
        "#torch.ops.aten.relu.default",
        "torch.ops.aten.relu.default\n",
        None,
        3,
    ],
)
def test_any_other_target_is_refused(target):
    with pytest.raises(TeacherError, match="the program calls"):
        read_steps({"nodes": [node(target, X)]}, {"x"}, "y")


@pytest.mark.parametrize(
    "argument",
    [
        {"as_graph": {"name": "g", "graph": {}}},
        {"as_custom_obj": {"name": "o", "class_fqn": "a.B"}},
        {"as_operator": "torch.os.system"},
        {"as_complex": {"real": 0, "imag": 1}},
        {"as_int": 1 << 70},
        {"as_int": True},
        {"as_int": "1"},
        {"as_ints": 3},
        {"as_float": "__import__('os')"},
        {"as_bool": 1},
        {"as_string": ["a"]},
        {"as_scalar_type": 9},
        {"as_scalar_type": [7]},
        {"as_layout": 1},
        {"as_tensor": {"name": 3}},
        {"as_sym_int": {"as_expr": {"expr_str": "1"}}},
        {"as_int": 1, "as_float": 1.0},
        {},
        3,
        {"as_tensor": {"name": "nowhere"}},
    ],
)
def test_arguments_of_another_form_are_refused(argument):
    with pytest.raises(TeacherError):
        read_steps({"nodes": [node("torch.ops.aten.add.Tensor", X, argument)]}, {"x"}, "y")


def test_a_result_that_no_step_makes_is_refused():
    with pytest.raises(TeacherError, match="which no step makes"):
        read_steps({"nodes": [node("torch.ops.aten.relu.default", X)]}, {"x"}, "z")
