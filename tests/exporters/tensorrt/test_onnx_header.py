"""What an ONNX file says of itself is read without onnx, and is what onnx reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError
from cake_edge.provenance import sha256_file
from exporters.tensorrt.onnx_header import OnnxInput, read_header


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A graph within a graph, weights of two types, metadata, an input with a stored value."""
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(2), "w"))],
        "inner", [], [helper.make_tensor_value_info("c", TensorProto.DOUBLE, (2,))],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["flag"], ["z"], then_branch=inner, else_branch=inner),
        helper.make_node("QuantizeLinear", ["w", "s"], ["q"]),
    ]
    graph = helper.make_graph(
        nodes, "graph",
        [
            helper.make_tensor_value_info("w", TensorProto.FLOAT16, (4,)),
            helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3, 224, None)),
        ],
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, (2,))],
        [numpy_helper.from_array(np.ones(4, np.float16), "w"),
         numpy_helper.from_array(np.float16(1), "s"), numpy_helper.from_array(np.True_, "flag")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    helper.set_model_props(model, {"cake_edge": '{"a": "é"}', "empty": ""})
    path = tmp_path / "nested.onnx"
    onnx.save(model, path)
    return path


def test_everything_that_is_told_is_read(nested: Path) -> None:
    header = read_header(nested)
    assert header.inputs == (OnnxInput(name="images", shape=("batch", 3, 224, "")),)
    assert header.operators == {"If", "Constant", "QuantizeLinear"}
    assert header.metadata == {"cake_edge": '{"a": "é"}', "empty": ""}
    assert (header.half, header.quantized, header.external) == (True, True, ())
    assert header.sha256 == sha256_file(nested)


def test_an_exported_network_is_read(float_file: Path) -> None:
    header, model = read_header(float_file), onnx.load(float_file)
    assert header.operators == {node.op_type for node in model.graph.node}
    assert header.metadata == {prop.key: prop.value for prop in model.metadata_props}
    assert header.inputs == (OnnxInput(name="input", shape=("batch", 1, 20, 20)),)
    assert (header.half, header.quantized) == (False, False)


def test_weights_beside_the_file_are_part_of_its_hash(quantized: Path) -> None:
    model = onnx.load(quantized)
    onnx.save(model, quantized, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = read_header(quantized)
    assert before.external == ("w.bin",)
    weights = quantized.with_name("w.bin")
    weights.write_bytes(b"\1" + weights.read_bytes()[1:])
    assert read_header(quantized).sha256 != before.sha256
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"'w\.bin', which is not a file in the model's folder"):
        read_header(quantized)


def test_weights_outside_the_folder_are_not_read(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    model = onnx.load(quantized)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"../xx"))
    (tmp_path / "xx").write_bytes(b"secret")
    with pytest.raises(ArtifactError, match="not a file in the model's folder"):
        read_header(path)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x08\x08", b"\x3a\xff\xff\xff\x0f", b"\xff"]
)
def test_what_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is not a readable ONNX model"):
        read_header(path)


def test_a_file_cut_short_is_refused_wherever_it_is_cut(nested: Path) -> None:
    whole = nested.read_bytes()
    for size in range(0, len(whole) - 60, 7):
        nested.write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            read_header(nested)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nothing\.onnx does not exist"):
        read_header(tmp_path / "nothing.onnx")
