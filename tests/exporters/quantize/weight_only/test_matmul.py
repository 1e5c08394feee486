from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.judge import logits_of
from exporters.quantize.weight_only import ORT_W4, ORT_W8, WeightOnly
from exporters.quantize.weight_only.matmul import (
    as_products,
    product_share,
    products,
    write_blocks,
)

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def model_of(nodes, constants, inputs=48):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", inputs))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 40))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def product():
    node = helper.make_node("MatMul", ["input", "w"], ["logits"], name="product")
    return model_of([node], {"w": array(48, 40)})


@pytest.fixture(scope="module")
def rows():
    return array(64, 48)


@pytest.mark.parametrize(
    ("settings", "weight", "bias"),
    [
        ({"transB": 1}, (40, 48), (40,)),
        ({}, (48, 40), (40,)),
        ({"transB": 1, "alpha": 0.5, "beta": 2.0}, (40, 48), (1, 40)),
        ({"transB": 1}, (40, 48), None),
    ],
)
def test_a_gemm_is_the_product_and_the_sum_that_it_is(rows, settings, weight, bias):
    constants = {"w": array(*weight)} | ({"b": array(*bias)} if bias is not None else {})
    node = helper.make_node("Gemm", ["input", *constants], ["logits"], name="head", **settings)
    model = model_of([node], constants)
    changed = as_products(model)
    onnx.checker.check_model(changed, full_check=True)
    kinds = [each.op_type for each in changed.graph.node]
    assert kinds == (["MatMul", "Add"] if bias is not None else ["MatMul"])
    assert changed.graph.node[0].name == "head"
    np.testing.assert_allclose(
        logits_of(changed, lambda: [rows]), logits_of(model, lambda: [rows]), atol=1e-4
    )
    assert [each.op_type for each in model.graph.node] == ["Gemm"]


def test_a_gemm_of_what_is_computed_stays(rows):
    nodes = [
        helper.make_node("Relu", ["w"], ["v"], name="relu"),
        helper.make_node("Gemm", ["input", "v"], ["logits"], name="head"),
    ]
    changed = as_products(model_of(nodes, {"w": array(48, 40)}))
    assert [each.op_type for each in changed.graph.node] == ["Relu", "Gemm"]
    assert products(changed) == []


def levels(name, model):
    return next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


@pytest.mark.parametrize("symmetric", [True, False])
def test_eight_bits_are_within_half_a_step_of_each_weight(symmetric):
    model, target = product(), WeightOnly(name="x", bits=8, block=16, precision="int8")
    written = write_blocks(model, target, symmetric=symmetric)
    (node,) = written.graph.node
    assert (node.op_type, node.domain) == ("MatMulNBits", "com.microsoft")
    given = {item.name: item.i for item in node.attribute}
    assert given == {"K": 48, "N": 40, "bits": 8, "block_size": 16, "accuracy_level": 4}
    stored, scales = levels(node.input[1], written), levels(node.input[2], written)
    zero = levels(node.input[3], written).reshape(40, 3) if not symmetric else 128
    zero = np.broadcast_to(zero, (40, 3))[..., None].astype(np.float64)
    steps = scales.reshape(40, 3, 1)
    found = ((stored.reshape(40, 3, 16) - zero) * steps).reshape(40, 48).T
    error = np.abs(found - numpy_helper.to_array(model.graph.initializer[0]))
    assert (error <= np.repeat(np.abs(steps)[..., 0], 16, axis=1).T * 0.51).all()


@pytest.mark.parametrize(("target", "least", "share"), [(ORT_W8, 35, 0.65), (ORT_W4, 12, 0.5)])
def test_the_product_is_kept_and_the_weights_are_small(rows, target, least, share):
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["x"], name="a"),
        helper.make_node("MatMul", ["x", "v"], ["logits"], name="b"),
    ]
    model = model_of(nodes, {"w": array(256, 256), "v": array(256, 40)}, inputs=256)
    wide = array(32, 256)
    wanted = logits_of(model, lambda: [wide])
    for symmetric in (True, False):
        written = write_blocks(model, target, symmetric=symmetric)
        error = logits_of(written, lambda: [wide]) - wanted
        assert 10 * np.log10((wanted**2).sum() / (error**2).sum()) > least
        assert written.ByteSize() < share * model.ByteSize()
        assert {tensor.name for tensor in written.graph.initializer}.isdisjoint({"w", "v"})


def test_equal_models_give_equal_bytes():
    model = product()
    first, second = (
        write_blocks(model, ORT_W4, symmetric=False).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second
    assert [node.op_type for node in model.graph.node] == ["MatMul"]


def test_the_share_is_of_all_float_constants():
    nodes = [
        helper.make_node("Add", ["input", "b"], ["x"], name="sum"),
        helper.make_node("MatMul", ["x", "w"], ["logits"], name="product"),
    ]
    model = model_of(nodes, {"w": array(48, 40), "b": array(48)})
    assert product_share(model) == pytest.approx(40 / 41)
    assert product_share(model_of([], {})) == 0


def test_the_log_is_left_as_it_was():
    # In a fresh process: the module in question sets the log up as it is imported.
    code = (
        "import logging, sys\n"
        "import test_matmul as t\n"
        "before = (list(logging.getLogger().handlers), logging.getLogger().level)\n"
        "assert not any('nbits' in name for name in sys.modules)\n"
        "t.write_blocks(t.product(), t.ORT_W8, symmetric=True)\n"
        "assert (logging.getLogger().handlers, logging.getLogger().level) == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert logging.getLogger().level == logging.WARNING
