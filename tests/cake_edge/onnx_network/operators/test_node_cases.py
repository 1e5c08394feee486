"""Every operator of the table, held by the cases that onnx itself publishes for it."""

from __future__ import annotations

import re
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from cake_edge.onnx_network import OnnxGraph
from cake_edge.onnx_network.operators import OPERATORS
from cake_edge.onnx_network.parse import NEWEST_OPSET

OWN = sorted(name for domain, name in OPERATORS if not domain)
WITHOUT_CASES = {"Not", "SimplifiedLayerNormalization"}
"""Held by ONNX Runtime's answers in test_forms.py; those of Not are of opset 1."""

FEW_BITS = r"FLOAT8|FLOAT4|U?INT4|U?INT2"
SPELLED = r"(?!.*_expanded)"
LEFT_OUT = {
    rf"^test_cast(like)?_.*_to_({FEW_BITS})": "floats and integers of few bits are refused",
    r"^test_cast(like)?_FLOAT_to_BFLOAT16|^test_celu_bfloat16|_bf16(_expanded)?$": (
        "rounded to bfloat16, which is float32 here"
    ),
    r"^test_attention_4d_gqa_with_past_and_present_fp16_expanded$": (
        "rounded to float16, which is float32 here"
    ),
    r"^test_equal_string": "strings are refused",
    r"^test_training_dropout|^test_batchnorm_.*_training_mode$": "training is refused",
    r"^test_maxpool_with_argmax": "the places of the largest values are refused",
    rf"^test_attention_{SPELLED}.*(past|present|padded_kv|nonpad|ext_cache)": (
        "a cache of keys is refused"
    ),
    rf"^test_attention_{SPELLED}.*qk_matmul": "the scores of attention are refused",
    rf"^test_attention_{SPELLED}.*_window(?!_default)": "attention within a window is refused",
    rf"^test_attention_{SPELLED}.*nan_robustness$": (
        "no image classifier masks all that a query may see"
    ),
    r"^test_not_[234]d$": "opset 1",
    r"^test_reduce_(max|min)_empty_set(_bool)?$": "the largest of nothing is an error",
    r"^test_resize_downsample_scales_(linear|cubic)_align_corners$": (
        "the case divides by a size that is not whole; ONNX Runtime, and torch, do not"
    ),
    r"^test_scatternd_(multiply|max|min)": "ScatterND replaces and adds only",
}


def left_out(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in LEFT_OUT)


@pytest.fixture(scope="module")
def cases():
    """All cases that consist of operators of the table, by name."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases are of overflow, and numpy says so
        found = loader.load_model_tests(kind="node")
    known = {*OWN, "Constant"}
    return {case.name: case for case in found if case.model and kinds(case.model) <= known}


def kinds(model: onnx.ModelProto) -> set[str]:
    strange = {node.domain + node.op_type for node in model.graph.node if node.domain}
    return strange | {node.op_type for node in model.graph.node}


def tensor(value) -> torch.Tensor:
    array = array_of(value)
    if array.dtype.kind not in "iub":
        array = array.astype(np.float32)
    elif array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array))


def array_of(value) -> np.ndarray:
    return np.asarray(
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    )


def fault_of(case) -> str:
    """What is wrong with the graph's answers to a case, or nothing."""
    try:
        graph = OnnxGraph(case.model)
        for given, wanted in case.data_sets:
            ports = [port.name for port in case.model.graph.input]
            found = graph.run(dict(zip(ports, map(tensor, given), strict=False)))
            for name, want in zip(graph.outputs, map(array_of, wanted), strict=True):
                got = found[name].numpy()
                assert got.shape == want.shape, f"{got.shape} for {want.shape}"
                assert (got.dtype.kind in "fb") == (want.dtype.kind not in "iu"), want.dtype
                np.testing.assert_allclose(
                    got.astype(np.float64), want.astype(np.float64), case.rtol, max(case.atol, 1e-6)
                )
    except Exception as error:  # noqa: BLE001  whatever it is, it is named with the case
        return f"{case.name}: {error!r}"[:300]
    return ""


@pytest.mark.parametrize("op_type", OWN)
def test_an_operator_answers_as_published(op_type, cases):
    own = [case for case in cases.values() if kinds(case.model) == {op_type}]
    run = [case for case in own if not left_out(case.name)]
    assert [fault for fault in map(fault_of, run) if fault] == []
    assert bool(run) == (op_type not in WITHOUT_CASES)


def test_functions_spelled_out_answer_as_published(cases):
    several = [case for case in cases.values() if len(kinds(case.model)) > 1]
    run = [case for case in several if not left_out(case.name)]
    assert [fault for fault in map(fault_of, run) if fault] == []
    assert len(run) > 250


newest = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < NEWEST_OPSET, reason="the list is of a newer onnx's cases"
)


@newest
def test_no_case_is_left_out_without_need(cases):
    names = [name for name in cases if left_out(name)]
    assert [name for name in names if not fault_of(cases[name])] == []
    needless = [each for each in LEFT_OUT if not any(re.search(each, name) for name in names)]
    assert needless == []


@newest
def test_no_attribute_of_a_supported_operator_is_overlooked(root):
    folder = root / "cake_edge" / "onnx_network" / "operators"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    unread = {
        (schema.name, name)
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.name in OWN and schema.since_version >= 7
        for name in schema.attributes
        if f'"{name}"' not in source
    }
    assert {name for _, name in unread} == {
        "momentum", "spatial", "ratio", "seed",  # of training; of a BatchNorm per pixel, refused
        "stash_type", "softmax_precision",  # everything is computed in one float type
        "saturate", "round_mode",  # of casts to floats of few bits, refused
        "storage_order", "qk_matmul_output_mode",  # of outputs that are refused
        "sorted",  # always sorted
    }  # fmt: skip
