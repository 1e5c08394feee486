from __future__ import annotations

import numpy as np
import onnx
import pytest

from cake_edge.errors import ArtifactError, GateFailed, UsageMistake
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.parity import compare
from exporters.quantize import QuantizeConfig, quantize
from exporters.quantize.config import Speed
from exporters.quantize.retarget import retarget
from exporters.runtimes import OrtSession, open_for_accuracy, why_not_here

QUICK = QuantizeConfig(latency_seconds=0)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A small vision transformer with random weights, as ONNX."""
    spec = ImageSpec(channels=1, height=16, width=16, mean=(0.5,), std=(0.25,), classes=6)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 96, "depth": 2, "num_heads": 2}
    network = build_network(
        "vit_tiny_patch16_224", channels=1, classes=6, arguments=sizes, seed=0
    ).eval()
    path = tmp_path_factory.mktemp("transformer") / "vit.onnx"
    card = ModelCard(
        architecture="vit_tiny_patch16_224", spec=spec, role="student", parent="cd" * 32
    )
    export_onnx(network, path, card)
    return path


@pytest.fixture(scope="module")
def patches():
    def source():
        squares = np.random.default_rng(0).standard_normal((48, 1, 4, 4)).astype(np.float32)
        yield np.kron(squares, np.ones((1, 1, 4, 4), np.float32))

    return source


@pytest.fixture(scope="module", params=["ort-w8", "ort-w4"])
def done(request, transformer, patches, tmp_path_factory):
    """(target, report, file) of a quantization."""
    out = tmp_path_factory.mktemp("weights") / "vit.onnx"
    report = quantize(transformer, out, patches, target=request.param, config=QUICK)
    return request.param, report, out


def logits(path, images):
    with OrtSession(path) as session:
        return np.concatenate([session.infer(batch) for batch in images()])


def test_the_logits_are_nearly_those_of_float(done, transformer, patches):
    target, _, out = done
    parity = compare(logits(transformer, patches), logits(out, patches))
    assert parity.sqnr_db > (25 if target == "ort-w8" else 8)


def test_every_product_with_weights_runs_on_few_bits(done):
    target, report, out = done
    assert report.coverage["int8"] == {"MatMul": 2 * 4 + 1}
    assert report.coverage["operators"]["MatMulNBits"] == 9
    # Attention's products of two activations, and the patches.
    assert report.coverage["float"] == {"Conv": 1, "MatMul": 4}
    assert len(report.four_bit) == (9 if target == "ort-w4" else 0)
    domains = {entry.domain for entry in onnx.load(out).opset_import}
    assert "com.microsoft" in domains


def test_the_report_is_that_of_every_target(done, transformer):
    target, report, out = done
    assert (report.path, report.target, report.ranges) == (out, target, "none")
    assert report.bytes == out.stat().st_size < 0.6 * transformer.stat().st_size
    assert (report.calibration_images, report.checked_images) == (36, 12)
    assert set(report.divergence) == {"symmetric", "asymmetric"}
    assert report.parity.n == 12


def test_the_nearer_of_both_forms_is_written(done):
    _, report, out = done
    forms = {3: "symmetric", 4: "asymmetric"}
    nodes = [node for node in onnx.load(out).graph.node if node.op_type == "MatMulNBits"]
    (form,) = {forms[len(node.input)] for node in nodes}
    assert report.divergence[form] == min(report.divergence.values())


def test_the_card_says_what_the_weights_are(done, transformer):
    target, report, out = done
    with open_for_accuracy(out) as session:
        card = session.card
    assert (card.precision, card.target) == (target.replace("ort-w", "int"), target)
    assert card.parent == sha256_file(transformer)
    account = card.manifest["quantization"]
    assert account["weights"]["bits"] == int(target[-1])
    assert account["parity"] == report.parity.to_dict()
    assert "path" not in account
    assert why_not_here(card) is None


def test_equal_inputs_give_equal_bytes(done, transformer, patches, tmp_path):
    target, _, out = done
    quantize(transformer, tmp_path / "again.onnx", patches, target=target, config=QUICK)
    assert (tmp_path / "again.onnx").read_bytes() == out.read_bytes()


def test_a_network_of_convolutions_is_sent_to_another_target(float_file, images, tmp_path):
    with pytest.raises(ArtifactError, match=r"\d% of the model's weights .* --target ort-x86"):
        quantize(float_file, tmp_path / "w8.onnx", images, target="ort-w8", config=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_bits_that_the_target_has_not_are_a_mistake(transformer, patches, tmp_path):
    config = QuantizeConfig(weight_bits=4)
    with pytest.raises(UsageMistake, match="give --target ort-w4"):
        quantize(transformer, tmp_path / "w8.onnx", patches, target="ort-w8", config=config)


def test_a_file_over_its_budget_is_not_written(transformer, patches, tmp_path):
    config = QuantizeConfig(latency_seconds=0, target_bytes=1000)
    with pytest.raises(GateFailed, match="more than the 1000 asked for"):
        quantize(transformer, tmp_path / "w8.onnx", patches, target="ort-w8", config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_slower_is_not_shipped_silently(transformer, patches, tmp_path, monkeypatch):
    slow = Speed(estimate=0.5, low=0.4, high=0.6)
    monkeypatch.setattr("exporters.quantize.gate.paired_speed", lambda *_: slow)
    report = quantize(transformer, tmp_path / "w8.onnx", patches, target="ort-w8")
    assert (report.verdict, report.speed) == ("float", slow)
    assert report.advice[0].startswith("slower than the float model here")
    with pytest.raises(GateFailed, match=r"0\.50 times the float model's speed"):
        quantize(transformer, tmp_path / "no.onnx", patches, target="ort-w8",
                 config=QuantizeConfig(when_slower="refuse"))  # fmt: skip
    assert not (tmp_path / "no.onnx").exists()


def test_it_is_not_retargeted_as_it_has_no_ranges(done, tmp_path):
    _, _, out = done
    with pytest.raises(ArtifactError, match="only its weights are quantized"):
        retarget(out, tmp_path / "out.onnx", target="tensorrt")
