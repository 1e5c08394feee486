"""Only whole ONNX files are read, and of other files only those in the model's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge import onnx_file
from cake_edge.errors import ArtifactError
from cake_edge.onnx_file import check_image_input, default_opset, read_model

SIZE = 1 << 12
Shape = tuple[str | int | None, ...]


def model_of(
    shape: Shape = ("batch", 3, 8, 8),
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    inputs: tuple[str, ...] = ("x",),
) -> onnx.ModelProto:
    """Adds a weight of 4 KiB to the input."""
    weight = numpy_helper.from_array(np.arange(SIZE // 4, dtype=np.float32), "weight")
    ports = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    out = helper.make_tensor_value_info("out", TensorProto.INT64, ())
    node = helper.make_node("Size", ["weight"], ["out"])
    graph = helper.make_graph([node], "graph", ports, [out], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A model whose weight lies in weights.bin, in a folder of its own."""
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model_of(), path, save_as_external_data=True, location="weights.bin",
              size_threshold=0)  # fmt: skip
    return path


def rewrite(path: Path, **entries: str) -> None:
    """States other external data for the weight."""
    model = onnx.load(path, load_external_data=False)
    stored = model.graph.initializer[0].external_data
    kept = {each.key: each.value for each in stored}
    del stored[:]
    for key, value in {**kept, **entries}.items():
        entry = stored.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def test_a_file_is_read_whole_with_what_lies_beside_it(tmp_path: Path, beside: Path) -> None:
    alone = tmp_path / "alone.onnx"
    onnx.save(model_of(), alone)
    for path in (alone, beside):
        weight = numpy_helper.to_array(read_model(path).graph.initializer[0])
        assert np.array_equal(weight, np.arange(SIZE // 4))


def test_a_weight_of_no_stated_length_is_measured_by_its_shape(beside: Path) -> None:
    rewrite(beside, length="")
    (beside.parent / "weights.bin").write_bytes(bytes(SIZE - 1))
    with pytest.raises(ArtifactError, match=f"bytes 0 to {SIZE} of weights.bin, which has 4095"):
        read_model(beside)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x08\x09", b"PK\x03\x04" + bytes(99), b"\xff" * 64]
)
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        read_model(path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = model_of().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"not a readable ONNX model|is of opset none"):
            read_model(path)


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(ArtifactError, match="does not exist or is not a file"):
            read_model(path)


@pytest.mark.parametrize("opset", [1, 12, onnx.defs.onnx_opset_version() + 1])
def test_an_opset_that_is_not_known_is_refused(tmp_path: Path, opset: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(opset=opset).SerializeToString())
    with pytest.raises(ArtifactError, match=f"is of opset {opset}; opsets 13 to"):
        read_model(path)
    assert default_opset(model_of(opset=opset)) == opset


def test_a_model_beyond_protobufs_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as stream:
        stream.truncate(onnx_file.LARGEST_BYTES + 1)  # a hole, not two gigabytes
    with pytest.raises(ArtifactError, match="at most 2 GiB"):
        read_model(path)


def test_weights_beside_the_model_count_for_its_size(beside: Path) -> None:
    weights = beside.parent / "weights.bin"
    with weights.open("r+b") as stream:
        stream.truncate(onnx_file.LARGEST_BYTES + 1)
    rewrite(beside, length=str(onnx_file.LARGEST_BYTES))
    with pytest.raises(ArtifactError, match="at most 2 GiB"):
        read_model(beside)


def test_weights_that_are_missing_are_named(beside: Path) -> None:
    (beside.parent / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"weight weight is in weights\.bin, which is not in"):
        read_model(beside)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "1"},
        {"offset": str(1 << 62)},
        {"length": str(SIZE + 1)},
        {"offset": "-1"},
        {"length": "-4"},
    ],
)
def test_a_stretch_beyond_the_file_is_refused(beside: Path, entries: dict[str, str]) -> None:
    rewrite(beside, **entries)
    with pytest.raises(ArtifactError, match="which has 4096; copy the whole file"):
        read_model(beside)


@pytest.mark.parametrize("entries", [{"offset": "many"}, {"length": "0x10"}])
def test_numbers_that_are_none_are_refused(beside: Path, entries: dict[str, str]) -> None:
    rewrite(beside, **entries)
    with pytest.raises(ArtifactError, match="names its external data wrongly"):
        read_model(beside)


@pytest.mark.parametrize(
    "place",
    [
        lambda secret: str(secret),
        lambda secret: f"../{secret.name}",
        lambda secret: f"inner/../../{secret.name}",
        lambda secret: "",
        lambda secret: "C:\\secret.bin",
        lambda secret: "..\\secret.bin",
        lambda secret: "a\0b",
    ],
)
def test_a_place_outside_the_folder_is_not_read(
    tmp_path: Path, beside: Path, place: Callable[[Path], str]
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(SIZE))
    rewrite(beside, location=place(secret))
    with pytest.raises(ArtifactError, match="outside the model's folder; that is not read"):
        read_model(beside)


@pytest.mark.parametrize("folder", [False, True])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, beside: Path, folder: bool) -> None:
    secret = tmp_path / "elsewhere" / "weights.bin"
    secret.parent.mkdir()
    secret.write_bytes(bytes(SIZE))
    link = beside.parent / ("linked" if folder else "linked.bin")
    link.symlink_to(secret.parent if folder else secret)
    rewrite(beside, location="linked/weights.bin" if folder else "linked.bin")
    with pytest.raises(ArtifactError, match="outside the model's folder"):
        read_model(beside)


@pytest.mark.parametrize("function", [False, True])
def test_weights_within_nodes_are_checked_too(tmp_path: Path, function: bool) -> None:
    model = model_of()
    inner = numpy_helper.from_array(np.zeros(4, np.float32), "inner")
    inner.data_location = TensorProto.EXTERNAL
    entry = inner.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    node = helper.make_node("Constant", [], ["c"], value=inner)
    if function:
        imports = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("ours", "f", [], ["c"], [node], imports))
    else:
        model.graph.node.append(node)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="outside the model's folder"):
        read_model(path)


def test_a_type_that_is_none_is_refused(beside: Path) -> None:
    rewrite(beside, length="")
    model = onnx.load(beside, load_external_data=False)
    model.graph.initializer[0].data_type = 99
    beside.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="names its external data wrongly"):
        read_model(beside)


def test_a_graph_that_the_checker_refuses_is_refused(tmp_path: Path) -> None:
    model = model_of()
    model.graph.node[0].input[0] = "nobody makes this"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        read_model(path)


def test_images_of_one_size_are_taken() -> None:
    check_image_input(model_of(), "the model")
    check_image_input(model_of((4, 3, 8, 8), kind=TensorProto.FLOAT16), "the model")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (model_of(inputs=("x", "y")), r"2 inputs \(x, y\); a classifier of images has one"),
        (model_of(inputs=("weight",)), "0 inputs; a classifier"),
        (model_of(("batch", 3)), "FLOAT of shape \\['batch', 3\\]"),
        (model_of(kind=TensorProto.INT8), "INT8 of shape"),
        (model_of(("batch", 3, "height", 8)), "not all of them fixed"),
        (model_of(("batch", None, 8, 8)), "not all of them fixed"),
    ],
)
def test_another_input_is_named(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        check_image_input(model, "the model")
