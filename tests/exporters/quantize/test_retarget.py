from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import sha256_file
from exporters.artifact import attach_card, card_from_metadata
from exporters.lint import lint
from exporters.parity import compare
from exporters.quantize import TARGETS, Dialect, QuantizeConfig, quantize
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.removed import removed_activations
from exporters.quantize.retarget import retarget
from exporters.quantize.stored import stored_weights
from exporters.runtimes import OrtSession

MADE = ("ort-x86", "ort-x86-novnni", "tensorrt", "tensorrt-fp16")
PAIRS = [
    ("ort-x86", "tensorrt"),
    ("ort-x86", "ort-arm"),
    ("ort-x86", "tensorrt-fp16"),
    ("tensorrt", "ort-x86"),
    ("tensorrt-fp16", "ort-x86"),
    ("ort-x86-novnni", "ort-x86"),
    ("ort-x86-novnni", "tensorrt"),
]
QUICK = QuantizeConfig(latency_seconds=0)


@pytest.fixture(scope="module")
def made(float_file, images, tmp_path_factory):
    """By target, the float model quantized for it."""
    folder = tmp_path_factory.mktemp("made")
    for target in MADE:
        quantize(float_file, folder / f"{target}.onnx", images, target=target, config=QUICK)
    return {target: folder / f"{target}.onnx" for target in MADE}


@pytest.fixture
def turned(made, tmp_path):
    """Writes the file of one target in the dialect of others, in turn."""

    def turn(source, *targets):
        path = made[source]
        for number, target in enumerate(targets):
            path, before = tmp_path / f"{number}.{target}.onnx", path
            retarget(before, path, target=target)
        return path

    return turn


def logits(path, images):
    with OrtSession(path, optimise=False) as session:
        return np.concatenate([session.infer(batch) for batch in images()])


def integers(path):
    """By weight its integers; biases, which follow the scales of activations, are left out."""
    stored = stored_weights(onnx.load(path)).values()
    return {one.name: one.integers for one in stored if one.integers.dtype != np.int32}


def card_of(path):
    return card_from_metadata({e.key: e.value for e in onnx.load(path).metadata_props})


def nodes(path):
    graph = onnx.load(path).graph
    return sorted((node.op_type, node.name, *node.input, *node.output) for node in graph.node)


def constants(path):
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_weights_keep_their_integers(made, tmp_path, source, target):
    out = tmp_path / "out.onnx"
    report = retarget(made[source], out, target=target)
    before, after = integers(made[source]), integers(out)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (report.kept_weights, report.rounded_weights) == (len(before), ())
    assert report.coverage["int8_share"] == 1


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_file_is_hardly_worse_than_one_quantized_for_the_target(
    turned, made, float_file, images, source, target
):
    wanted = logits(float_file, images)
    turned_db = compare(wanted, logits(turned(source, target), images)).sqnr_db
    direct = made.get(target, made[source])
    # Biases were corrected for the source's rounding, and 7-bit weights stay what they are.
    least = min(compare(wanted, logits(path, images)).sqnr_db for path in (made[source], direct))
    assert turned_db > least - 2.5


@pytest.mark.parametrize("target", ["tensorrt", "ort-arm"])
def test_there_and_back_is_the_file_it_was(turned, made, images, target):
    back = turned("ort-x86", target, "ort-x86")
    np.testing.assert_array_equal(logits(back, images), logits(made["ort-x86"], images))
    before, after = integers(made["ort-x86"]), integers(back)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_relu_that_a_zero_point_stood_for_is_back_where_integers_are_signed(
    turned, made, float_file
):
    def relus(model):
        return sum(node.op_type == "Relu" for node in model.graph.node)

    wanted = relus(prepare(read_float_model(float_file)))
    assert relus(onnx.load(made["ort-x86"])) < wanted
    assert relus(onnx.load(turned("ort-x86", "tensorrt"))) == wanted
    assert relus(onnx.load(turned("tensorrt", "ort-x86"))) == relus(onnx.load(made["ort-x86"]))


def test_where_the_card_names_what_was_removed_names_are_as_quantize_gives_them(
    made, float_file, tmp_path
):
    model, card = onnx.load(made["ort-x86"]), card_of(made["ort-x86"])
    removed = removed_activations(prepare(read_float_model(float_file)), model)
    card.manifest["quantization"]["activations"] = removed
    attach_card(model, card)
    onnx.save(model, tmp_path / "told.onnx")
    report = retarget(tmp_path / "told.onnx", tmp_path / "out.onnx", target="tensorrt")
    assert report.restored == tuple(one["name"] for one in removed) != ()
    assert nodes(tmp_path / "out.onnx") == nodes(made["tensorrt"])
    retarget(tmp_path / "out.onnx", tmp_path / "back.onnx", target="ort-x86")
    assert nodes(tmp_path / "back.onnx") == nodes(made["ort-x86"])
    before, after = constants(made["ort-x86"]), constants(tmp_path / "back.onnx")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("source", "target"), [("ort-x86", "tensorrt"), ("tensorrt", "ort-x86")])
def test_the_target_has_nothing_against_the_file(turned, source, target):
    found = lint(turned(source, target), target)
    assert [one.rule for one in found if one.severity == "rejected"] == []


def test_a_target_of_fewer_bits_rounds_again_and_says_which(made, tmp_path):
    report = retarget(made["ort-x86"], tmp_path / "seven.onnx", target="ort-x86-novnni")
    after = integers(tmp_path / "seven.onnx")
    assert report.kept_weights == 0
    assert set(report.rounded_weights) == set(after)
    assert max(int(np.abs(one.astype(int)).max()) for one in after.values()) <= 64


def test_layers_left_in_float_stay_float(made, tmp_path):
    model = onnx.load(made["tensorrt"])
    card = card_of(made["tensorrt"])
    name = next(node.name for node in model.graph.node if node.op_type == "Conv")
    account = {**card.manifest["quantization"], "left_float": [name]}
    card.manifest["quantization"].update(account)
    attach_card(model, card)
    onnx.save(model, tmp_path / "some.onnx")
    report = retarget(tmp_path / "some.onnx", tmp_path / "out.onnx", target="ort-x86")
    assert report.coverage["left_float"] == [name]
    assert card_of(tmp_path / "out.onnx").manifest["quantization"]["left_float"] == [name]


def test_weights_of_4_bits_keep_theirs(float_file, images, tmp_path):
    config = QuantizeConfig(latency_seconds=0, weight_bits=4)
    four, out = tmp_path / "four.onnx", tmp_path / "out.onnx"
    quantize(float_file, four, images, target="ort-x86", config=config)
    report = retarget(four, out, target="tensorrt")
    before, after = integers(four), integers(out)
    assert before.keys() == after.keys()
    assert {str(one.dtype) for one in after.values()} == {"int4"}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert report.rounded_weights == ()


def test_a_bias_beside_weights_that_vanish_is_kept(float_file, images, tmp_path):
    model = onnx.load(float_file)
    weights = {one.name: one for one in model.graph.initializer}
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    tiny = numpy_helper.to_array(weights[gemm.input[1]]).copy()
    tiny[0] *= 1e-12
    bias = np.array([0.5, 0, 0, 0], np.float32)
    weights[gemm.input[1]].CopyFrom(numpy_helper.from_array(tiny, gemm.input[1]))
    weights[gemm.input[2]].CopyFrom(numpy_helper.from_array(bias, gemm.input[2]))
    onnx.save(model, tmp_path / "float.onnx")
    quantize(tmp_path / "float.onnx", tmp_path / "q.onnx", images, target="tensorrt", config=QUICK)
    retarget(tmp_path / "q.onnx", tmp_path / "out.onnx", target="ort-x86")
    np.testing.assert_allclose(logits(tmp_path / "out.onnx", images)[:, 0], 0.5, atol=1e-3)


def test_the_card_says_where_the_file_is_from_and_nothing_measured_elsewhere(turned, made):
    out = turned("ort-x86", "tensorrt")
    before, after = card_of(made["ort-x86"]), card_of(out)
    assert (after.target, after.precision, after.spec) == ("tensorrt", "int8", before.spec)
    assert after.parent == sha256_file(made["ort-x86"])
    assert after.manifest["retargeted_from"] == {"target": "ort-x86", "sha256": after.parent}
    account = after.manifest["quantization"]
    assert account["target"] == "tensorrt"
    assert account["table"] == before.manifest["quantization"]["table"]
    assert account["activations"] == []
    assert not {"parity", "coverage", "divergence"} & account.keys()


def test_equal_files_give_equal_bytes(made, tmp_path):
    for name in ("a", "b"):
        retarget(made["ort-x86"], tmp_path / f"{name}.onnx", target="tensorrt")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


class Reader(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter([{"input": batch} for batch in images()])

    def get_next(self):
        return next(self.batches, None)


@pytest.fixture(scope="module")
def foreign(float_file, images, tmp_path_factory):
    """What ONNX Runtime's own quantizer writes, in both of its forms."""
    folder = tmp_path_factory.mktemp("foreign")
    for name in ("QDQ", "QOperator"):
        quantize_static(
            float_file, folder / f"{name}.onnx", Reader(images), quant_format=QuantFormat[name],
            per_channel=True,
        )  # fmt: skip
    bare = onnx.load(folder / "QDQ.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, folder / "bare.onnx")
    return folder


@pytest.mark.parametrize("name", ["QDQ", "bare"])
def test_a_file_from_elsewhere_is_turned_by_what_its_scales_cover(
    foreign, float_file, images, tmp_path, name
):
    source, out = foreign / f"{name}.onnx", tmp_path / "out.onnx"
    report = retarget(source, out, target="tensorrt")
    assert report.ranges == "scales"
    assert report.source_target == ("unknown" if name == "bare" else "any")
    wanted = logits(float_file, images)
    before, after = (compare(wanted, logits(path, images)).sqnr_db for path in (source, out))
    assert after > before - 4
    assert [one for one in lint(out, "tensorrt") if one.severity == "rejected"] == []


def test_integers_of_one_scale_a_tensor_are_kept_in_a_scale_a_channel(float_file, images, tmp_path):
    source, out = tmp_path / "one.onnx", tmp_path / "out.onnx"
    quantize_static(float_file, source, Reader(images), per_channel=False)
    report = retarget(source, out, target="tensorrt")
    assert (report.kept_weights, report.rounded_weights) == (16, ())


def test_a_file_too_old_for_half_precision_is_refused(foreign, tmp_path):
    model = onnx.load(foreign / "bare.onnx")
    next(entry for entry in model.opset_import if entry.domain == "").version = 18
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(ArtifactError, match=r"opset 18, .* needs opset 19"):
        retarget(tmp_path / "old.onnx", tmp_path / "out.onnx", target="tensorrt-fp16")
    assert not (tmp_path / "out.onnx").exists()


def test_a_range_that_the_file_does_not_hold_is_named(made, tmp_path):
    # TensorRT's dialect quantizes no output, and without a card nothing else tells its range.
    model = onnx.load(made["tensorrt"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ArtifactError, match=r"quantizes \d+ tensors whose range .*\(\w+.* and \d+"):
        retarget(tmp_path / "bare.onnx", tmp_path / "out.onnx", target="ort-x86")
    assert not (tmp_path / "out.onnx").exists()


def test_operators_of_integers_are_refused_with_their_numbers(foreign, tmp_path):
    with pytest.raises(ArtifactError, match=r"QOperator\.onnx: .*\d+ QLinearConv.*QDQ"):
        retarget(foreign / "QOperator.onnx", tmp_path / "out.onnx", target="tensorrt")


def test_a_float_file_is_sent_to_quantize(float_file, tmp_path):
    with pytest.raises(ArtifactError, match=r"is a float model; .* quantize .* --target tensorrt"):
        retarget(float_file, tmp_path / "out.onnx", target="tensorrt")


def test_a_file_of_weights_alone_has_no_ranges(tmp_path):
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
            helper.make_node("MatMul", ["input", "f"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 4))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 4))],
        [
            numpy_helper.from_array(np.ones((4, 4), np.int8), "w"),
            numpy_helper.from_array(np.ones((), np.float32), "s"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "w8.onnx")
    with pytest.raises(ArtifactError, match="only its weights are quantized"):
        retarget(tmp_path / "w8.onnx", tmp_path / "out.onnx", target="tensorrt")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tensorrt", "for tensorrt already"),
        ("tensort", "did you mean tensorrt"),
        ("ort-w8", "rounds the weights of a float model"),
    ],
)
def test_a_target_that_will_not_do_is_a_mistake(made, tmp_path, target, said):
    with pytest.raises(UsageMistake, match=said):
        retarget(made["tensorrt"], tmp_path / "out.onnx", target=target)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_range_table_is_said(made, tmp_path):
    model, card = onnx.load(made["tensorrt"]), card_of(made["tensorrt"])
    card.manifest["quantization"]["table"]["input"] = {"asymmetric": [0, 1, "x"]}
    attach_card(model, card)
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(ArtifactError, match=r"damaged\.onnx: the range table .* is damaged"):
        retarget(tmp_path / "damaged.onnx", tmp_path / "out.onnx", target="ort-x86")


def test_every_pair_of_dialects_is_written_and_runs(made, images, tmp_path):
    dialects = [name for name, one in TARGETS.items() if isinstance(one, Dialect)]
    for source, target in itertools.product(MADE, dialects):
        if source != target:
            retarget(made[source], tmp_path / "out.onnx", target=target)
            assert np.isfinite(logits(tmp_path / "out.onnx", images)).all()
