"""An ONNX file of any make becomes a teacher, or one sentence says why not."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError, CakeEdgeError, TeacherError, UsageMistake
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.spec import OTHER, ImageSpec
from cake_edge.teachers.adapters import ChannelsLast, FixedBatch, TwoLogits, fixed_batch
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.onnx_teacher import load_onnx_teacher
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx

INCEPTION = {"preset": "inception"}
SOFTMAX = helper.make_node("Softmax", ["z"], ["answer"], axis=1)
SIGMOID = helper.make_node("Sigmoid", ["z"], ["answer"])


def load(path, **said):
    return load_onnx_teacher(path, TeacherConfig(reference=str(path), **said or INCEPTION))


def runtime(path, images):
    """What ONNX Runtime answers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def images(count, size=(3, 16, 16)):
    return torch.randn((count, *size), generator=torch.Generator().manual_seed(5))


def test_logits_are_those_of_the_runtime_and_gradients_reach_the_images(write_onnx):
    path = write_onnx()
    teacher = load(path)
    shown = images(3).requires_grad_()
    logits = teacher(shown)
    np.testing.assert_allclose(
        logits.detach().numpy(), runtime(path, shown.detach().numpy()), atol=1e-4
    )
    logits[:, 1].sum().backward()
    assert shown.grad.abs().sum() > 0
    assert (teacher.architecture, teacher.arguments) == ("onnx", {"sha256": sha256_file(path)})
    assert (teacher.spec.input_size, teacher.spec.classes) == ((3, 16, 16), 4)
    assert teacher.origins["input size"] == "the graph's input"
    assert teacher.origins["mean and std"] == "the preset inception"
    assert "folded away or never there" in teacher.origins["normalisation layers"]


def test_a_softmax_at_the_end_is_taken_off(write_onnx):
    path = write_onnx(tail=[SOFTMAX], gain=400.0)
    teacher = load(path)
    shown = images(4)
    logits = teacher(shown)
    shares = runtime(path, shown.numpy())
    assert shares.min() == 0, "what the file itself says has lost its gradient"
    np.testing.assert_allclose(logits.softmax(1).numpy(), shares, atol=1e-5)
    assert logits.min() < -100
    assert teacher.spec.head == "softmax"
    assert teacher.origins["logits"] == "taken before the softmax at the end of the graph"


def test_a_sigmoid_at_the_end_makes_labels_that_do_not_exclude_each_other(write_onnx):
    path = write_onnx(tail=[SIGMOID])
    teacher = load(path)
    shown = images(4)
    np.testing.assert_allclose(
        teacher(shown).sigmoid().numpy(), runtime(path, shown.numpy()), atol=1e-5
    )
    assert teacher.spec.head == "sigmoid"
    assert load(path, preset="inception", head="softmax").spec.head == "softmax"


@pytest.mark.parametrize("gain", [4.0, 1e-3])
def test_one_logit_becomes_two_classes_even_where_it_looks_like_a_share(write_onnx, gain):
    path = write_onnx(tail=[SIGMOID], classes=1, gain=gain, metadata={"labels": "ham,spam"})
    teacher = load(path)
    shown = images(4)
    assert isinstance(teacher.network, TwoLogits)
    assert (teacher.spec.classes, teacher.spec.head) == (2, "softmax")
    assert teacher.spec.labels == ("ham", "spam")
    np.testing.assert_allclose(
        teacher(shown).softmax(1)[:, 1:].numpy(), runtime(path, shown.numpy()), atol=1e-5
    )


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_shown_part_by_part(write_onnx, batch):
    path = write_onnx(batch=batch, tail=[SOFTMAX])
    teacher = load(path)
    assert isinstance(teacher.network, FixedBatch)
    assert fixed_batch(teacher.network) == batch
    np.testing.assert_allclose(teacher(images(6)).numpy(), load(write_onnx())(images(6)), atol=1e-5)


def test_channels_last_are_turned(write_onnx):
    teacher = load(write_onnx(last=True))
    assert isinstance(teacher.network, ChannelsLast)
    assert teacher.spec.input_size == (3, 16, 16)
    np.testing.assert_allclose(teacher(images(3)).numpy(), load(write_onnx())(images(3)), atol=1e-5)


def test_a_free_size_is_asked_for_and_then_taken(write_onnx):
    path = write_onnx(batch=-1, channels=(3, -1, "w"))
    with pytest.raises(TeacherError, match=r"3, \?, \?.*--input-size"):
        load(path)
    teacher = load(path, preset="inception", input_size=(3, 20, 24))
    assert teacher.spec.input_size == (3, 20, 24)
    assert teacher.origins["input size"] == "as asked for"
    with pytest.raises(UsageMistake, match=r"\[1, 20, 24\]"):
        load(path, preset="inception", input_size=(1, 20, 24))


def test_a_float16_model_is_computed_in_float32(write_onnx):
    path = write_onnx(kind=TensorProto.FLOAT16)
    teacher = load(path)
    shown = images(3)
    assert teacher(shown).dtype == torch.float32
    wanted = runtime(path, shown.numpy().astype(np.float16)).astype(np.float32)
    np.testing.assert_allclose(teacher(shown).numpy(), wanted, rtol=1e-2, atol=0.1)


def test_labels_mean_and_colour_come_from_the_metadata(write_onnx):
    names = {"names": "{0: 'ant', 1: 'bee', 2: \"cat's eye\", 3: 'dog'}"}
    pixels = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    path = write_onnx(metadata=names | pixels)
    teacher = load_onnx_teacher(path, TeacherConfig(reference=str(path)))
    assert teacher.spec.labels == ("ant", "bee", "cat's eye", "dog")
    assert (teacher.spec.mean, teacher.spec.std) == ((0.0,) * 3, (1 / 255,) * 3)
    assert teacher.spec.colour == "bgr"
    assert teacher.origins["mean and std"] == "the file's metadata"
    asked = load(path, mean=(0.1,) * 3, std=(0.2,) * 3, labels=("a", "b", "c", "d"))
    assert (asked.spec.mean, asked.spec.labels) == ((0.1,) * 3, ("a", "b", "c", "d"))


def test_labels_of_another_number_are_passed_over(write_onnx, caplog):
    assert load(write_onnx(metadata={"labels": "a,b,c"})).spec.labels is None
    assert "3 names for 4 classes" in caplog.text


def test_a_file_of_ours_says_everything_itself(tmp_path):
    spec = ImageSpec(
        channels=3, height=32, width=32, mean=(0.1, 0.2, 0.3), std=(0.4,) * 3, classes=3,
        labels=("a", "b", "other"), colour="bgr", crop=0.9, interpolation="bilinear",
        source_classes=(7, 2, OTHER),
    )  # fmt: skip
    network = build_network("test_resnet", channels=3, classes=3, seed=2).eval()
    path = tmp_path / "ours.onnx"
    card = ModelCard(architecture="test_resnet", spec=spec, role="student", parent="0" * 64)
    export_onnx(network, path, card)
    teacher = load_onnx_teacher(path, TeacherConfig(reference=str(path)))
    assert teacher.spec == spec
    shown = images(2, (3, 32, 32))
    with torch.no_grad():
        np.testing.assert_allclose(teacher(shown).numpy(), network(shown).numpy(), atol=1e-4)
    for said in ({"preset": "imagenet"}, {"head": "sigmoid"}, {"input_size": (3, 16, 16)}):
        with pytest.raises(UsageMistake, match="says of itself"):
            load(path, **said)


@pytest.mark.parametrize("card", ["{", "[]", '{"input_size": [3, 16]}', "{}", "[" * 5000])
def test_a_damaged_card_is_said_to_be(write_onnx, card):
    with pytest.raises(TeacherError, match="damaged"):
        load(write_onnx(metadata={"cake_edge": card}))


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ({"arch": "resnet18"}, "--arch"),
        ({"match": "order"}, "--match"),
        ({"random_weights": True}, "--random-weights"),
        ({"arguments": {"a": 1}}, "--arguments"),
    ],
)
def test_options_of_weights_are_refused(write_onnx, said, option):
    with pytest.raises(UsageMistake, match=option):
        load(write_onnx(), **said)


def test_mean_and_std_are_never_assumed(write_onnx):
    path = write_onnx()
    with pytest.raises(TeacherError, match=r"--mean and --std, or --preset"):
        load_onnx_teacher(path, TeacherConfig(reference=str(path)))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"channels": (8, 16, 16)}, {"preset": "imagenet"}),
        ({"channels": (3, 16, 16)}, {"mean": (0.5,), "std": (0.5,)}),
    ],
)
def test_other_channels_than_mean_and_std_have_are_refused(write_onnx, shape, said):
    with pytest.raises(UsageMistake, match="one value a channel"):
        load(write_onnx(**shape), **said)


def changed(path, change):
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    return path


def test_a_second_input_is_refused_by_name(write_onnx):
    extra = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 4])
    path = changed(write_onnx(), lambda graph: graph.input.append(extra))
    with pytest.raises(TeacherError, match=r"2 inputs \(x .*, mask"):
        load(path)


def test_a_weight_among_the_inputs_is_none(write_onnx):
    weight = helper.make_tensor_value_info("b", TensorProto.FLOAT, [8])
    path = changed(write_onnx(), lambda graph: graph.input.append(weight))
    assert load(path).spec.classes == 4


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["N", 8], TensorProto.FLOAT, r"\['\?', 8\]"),
        (["N", 3, 16, 16], TensorProto.UINT8, "as UINT8.* no gradient"),
        ([2**20, 3, 16, 16], TensorProto.FLOAT, "taken for images are at most"),
        (["N", 3, 10**6, 16], TensorProto.FLOAT, "taken for images are at most"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, shape, kind, message):
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["c"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "none",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", "C"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "none.onnx"
    onnx.save(model, path)
    with pytest.raises(TeacherError, match=message):
        load(path)


def test_a_quantized_file_is_refused_with_the_reason(write_onnx):
    def quantize(graph):
        for name, value in (("s", np.float32(0.1)), ("q", np.int8(0))):
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        graph.node[0].input[0] = "dx"
        graph.node.insert(0, helper.make_node("DequantizeLinear", ["qx", "s", "q"], ["dx"]))
        graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "q"], ["qx"]))

    with pytest.raises(TeacherError, match=r"(?i)quantized"):
        load(changed(write_onnx(), quantize))


def test_external_data_is_read_beside_the_file_and_nowhere_else(write_onnx, tmp_path):
    model = onnx.load(write_onnx())
    path = tmp_path / "beside" / "a.onnx"
    path.parent.mkdir()
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    first = load(path)
    np.testing.assert_array_equal(first(images(2)), load(tmp_path / "vendor.onnx")(images(2)))
    assert first.arguments["sha256"] != sha256_file(path)
    data = bytearray((path.parent / "w.bin").read_bytes())
    data[3] ^= 1
    (path.parent / "w.bin").write_bytes(data)
    assert load(path).arguments != first.arguments
    hostile = onnx.load(path, load_external_data=False)
    for tensor in hostile.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../vendor.onnx" if entry.key == "location" else entry.value
    onnx.save(hostile, path)
    with pytest.raises(ArtifactError, match="outside the model's folder"):
        load(path)


def test_no_truncated_file_raises_anything_but_our_errors(write_onnx):
    path = write_onnx(tail=[SOFTMAX], metadata={"labels": "a,b,c,d"})
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(CakeEdgeError):
            load(path)
