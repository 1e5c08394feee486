from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from cake_edge.errors import ArtifactError, GateFailed, NumericsError, PoolError, UsageMistake
from cake_edge.provenance import sha256_file
from exporters.artifact import attach_card
from exporters.parity import compare
from exporters.quantize import QuantizeConfig, quantize
from exporters.quantize.config import Speed
from exporters.quantize.feed import Feed
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.insert import weighted_nodes
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.search import Search
from exporters.runtimes import OrtSession, open_session

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def done(float_file, images, tmp_path_factory):
    """(report, file) of a quantization with all defaults."""
    out = tmp_path_factory.mktemp("int8") / "student.int8.onnx"
    return quantize(float_file, out, images), out


def logits(path, images, **settings):
    with OrtSession(path, **settings) as session:
        return np.concatenate([session.infer(batch) for batch in images()])


def test_int8_gives_nearly_the_logits_of_float(done, float_file, images):
    _, out = done
    parity = compare(logits(float_file, images), logits(out, images))
    assert parity.sqnr_db > 15
    assert parity.top1_agreement > 0.9


def test_the_fused_integers_compute_what_the_file_says(done, images):
    _, out = done
    parity = compare(logits(out, images, optimise=False), logits(out, images))
    assert parity.sqnr_db > 35


def test_every_layer_really_runs_in_int8(done):
    report, _ = done
    assert report.coverage["int8_share"] == 1
    assert report.coverage["left_float"] == []
    # One conversion in; the logits come out of the last product as float.
    assert report.coverage["operators"]["QuantizeLinear"] == 1
    assert "DequantizeLinear" not in report.coverage["operators"]


def test_the_report_is_of_the_images_kept_apart(done, float_file, images):
    report, out = done
    apart = np.arange(64) % 4 == 3
    wanted, given = (logits(path, images)[apart] for path in (float_file, out))
    assert report.parity.n == report.checked_images == 16
    assert report.calibration_images == 48
    assert report.parity.max_abs == pytest.approx(compare(wanted, given).max_abs, rel=1e-4)


def test_the_best_of_the_variants_tried_is_the_one_written(done):
    report, _ = done
    written = report.ranges + ("+bias" if report.bias_correction else "")
    assert report.divergence[written] == min(report.divergence.values())
    assert {"minmax", "least-error"} <= set(report.divergence)


def test_the_card_says_what_the_file_is_and_was_made_from(done, float_file, card):
    report, out = done
    with open_session(out) as session:
        found = session.card
    assert (found.precision, found.target) == ("int8", "ort-x86")
    assert found.parent == sha256_file(float_file)
    assert (found.architecture, found.spec, found.role) == ("resnet10t", card.spec, "student")
    assert found.parameters == card.parameters
    assert found.manifest["seed"] == card.manifest["seed"]
    assert found.manifest["quantization"]["parity"] == report.parity.to_dict()


def test_the_file_is_a_valid_model_and_about_a_quarter_of_the_size(done, float_file):
    report, out = done
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert report.path == out
    assert report.bytes == out.stat().st_size < 0.45 * float_file.stat().st_size
    json.dumps(report.to_dict(), allow_nan=False)


def test_another_process_writes_the_same_bytes(done, float_file, tmp_path):
    _, out = done
    code = """
import sys
from pathlib import Path
import numpy as np
from exporters.quantize import quantize
def images():
    random = np.random.default_rng(0)
    for count in (40, 24):
        squares = random.standard_normal((count, 1, 5, 5)).astype(np.float32)
        yield np.kron(squares, np.ones((1, 1, 4, 4), np.float32))
quantize(Path(sys.argv[1]), Path(sys.argv[2]), images)
"""
    again = tmp_path / "again.onnx"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(float_file), str(again)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout, ended.stderr) == ("", "")
    assert again.read_bytes() == out.read_bytes()


@pytest.fixture
def coarse(monkeypatch):
    """Three levels instead of 256 for every range: the smallest honest way to a bad INT8 file."""
    wide = Range(-1000.0, 1000.0, "minmax")
    monkeypatch.setattr(
        "exporters.quantize.search.tensor_ranges",
        lambda _histogram, least_error: TensorRanges(asymmetric=wide, symmetric=wide),
    )


def test_a_budget_that_cannot_be_met_leaves_nothing_behind(
    float_file, images, tmp_path, coarse, monkeypatch
):
    # With every layer in float the budget is always met, so no layer may be.
    monkeypatch.setattr("exporters.quantize.run.savings", lambda _search, _best: {})
    with pytest.raises(GateFailed, match="nothing was written"):
        quantize(
            float_file,
            tmp_path / "q.onnx",
            images,
            config=QuantizeConfig(max_agreement_drop=0.0),
        )
    assert list(tmp_path.iterdir()) == []


def test_layers_are_left_in_float_until_the_budget_holds(float_file, images, tmp_path, monkeypatch):
    # Weights on a channel that is always 0 change nothing, and leave the others no levels.
    model = onnx.load(float_file)
    dead, spoilt = [node for node in model.graph.node if node.op_type == "Conv"][:2]
    for name, place, value in ((dead.input[2], 0, -1e3), (spoilt.input[1], np.s_[:, 0], 99.0)):
        constant = next(one for one in model.graph.initializer if one.name == name)
        values = onnx.numpy_helper.to_array(constant).copy()
        values[place] = value
        constant.CopyFrom(onnx.numpy_helper.from_array(values, name))
    path = tmp_path / "spoilt.onnx"
    onnx.save(model, path)
    for remedy in ("rewrites", "rounding"):
        monkeypatch.setattr(f"exporters.quantize.search.Search.{remedy}", lambda _search: None)
    config = QuantizeConfig(max_agreement_drop=0.0, latency_seconds=0)
    report = quantize(path, tmp_path / "q.onnx", images, config=config)
    assert spoilt.name in report.left_float
    assert set(report.left_float) <= set(report.sensitivity)
    assert report.parity.top1_agreement == 1
    saved = [report.sensitivity[name] for name in report.left_float]
    assert saved == sorted(saved, reverse=True)


@pytest.mark.parametrize("bits", [4, 8])
def test_with_every_layer_in_float_it_is_the_float_model(float_file, images, bits):
    model = prepare(read_float_model(float_file))
    with OrtSession(float_file) as session:
        spec = session.card.spec
    search = Search(model, ORT_X86, (ORT_X86,), Feed(images, spec, 64))
    best = search.ranges_and_bias(model)
    if bits == 4:
        names = tuple(node.name for node in weighted_nodes(model, ORT_X86))
        best = search.round_narrow(search.in_four_bits(best, names))
    else:
        search.rounding()
        best = search.best
    assert best.score.divergence > 1e-6
    every = tuple(node.name for node in weighted_nodes(best.source, ORT_X86))
    assert search.in_float(best, every).score.divergence < 1e-9


def test_tensorrt_is_given_no_weights_in_four_bits(float_file, images, tmp_path):
    config = QuantizeConfig(weight_bits=4)
    with pytest.raises(UsageMistake, match="takes no 4-bit weights"):
        quantize(float_file, tmp_path / "q.onnx", images, target="tensorrt", config=config)


def test_no_layer_is_left_in_float_where_the_budget_holds(float_file, images, tmp_path):
    out = tmp_path / "q.onnx"
    config = QuantizeConfig(max_agreement_drop=0.5, latency_seconds=0)
    report = quantize(float_file, out, images, config=config)
    assert (report.left_float, report.sensitivity) == ((), {})


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-fp16", "ort-arm"])
def test_what_runs_elsewhere_is_checked_in_float_and_says_so(float_file, images, tmp_path, target):
    out = tmp_path / "q.onnx"
    report = quantize(float_file, out, images, target=target)
    parity = compare(logits(float_file, images), logits(out, images, optimise=False))
    assert parity.sqnr_db > 15
    assert report.speed is None
    assert report.coverage["profiled"] is False
    assert report.coverage["int8_share"] == 1
    assert any("does not run on this machine" in each for each in report.advice)
    with open_session(out) as session:
        assert session.card.target == target


def test_full_effort_finds_nothing_worse_than_a_fast_one(done, float_file, images, tmp_path):
    fast, _ = done
    config = QuantizeConfig(effort="full", latency_seconds=0)
    full = quantize(float_file, tmp_path / "q.onnx", images, config=config)
    assert set(fast.divergence) < set(full.divergence)
    assert any("rounding" in name for name in full.divergence)
    assert any("cross-layer" in name for name in full.divergence)
    assert min(full.divergence.values()) <= min(fast.divergence.values())


def test_weights_in_four_bits_halve_the_file_and_are_rounded_for_their_layers(
    done, float_file, images, tmp_path
):
    fast, _ = done
    out = tmp_path / "q.onnx"
    config = QuantizeConfig(weight_bits=4, latency_seconds=0)
    report = quantize(float_file, out, images, config=config)
    assert len(report.four_bit) == 16
    assert report.bytes < fast.bytes * 0.75
    plain = next(value for name, value in report.divergence.items() if name.endswith("in 4 bits")
                 and "rounding" not in name)  # fmt: skip
    rounded = min(value for name, value in report.divergence.items() if "rounding" in name)
    assert rounded < plain / 2
    onnx.checker.check_model(onnx.load(out), full_check=True)


def test_a_size_is_met_by_narrowing_some_weights(done, float_file, images, tmp_path):
    fast, _ = done
    config = QuantizeConfig(target_bytes=int(fast.bytes * 0.95), latency_seconds=0)
    report = quantize(float_file, tmp_path / "q.onnx", images, config=config)
    assert 0 < len(report.four_bit) < 16
    assert report.bytes <= fast.bytes * 0.95


def test_a_size_out_of_reach_is_refused_with_the_smallest_there_is(float_file, images, tmp_path):
    config = QuantizeConfig(target_bytes=10_000, latency_seconds=0)
    with pytest.raises(GateFailed, match=r"would have \d+ bytes.*10000 asked for"):
        quantize(float_file, tmp_path / "q.onnx", images, config=config)
    assert list(tmp_path.iterdir()) == []


class Timed:
    """Stands for a measurement."""

    def __init__(self, ratio):
        self.ratio = ratio

    def __call__(self, _before, _after, _size, _seconds):
        return Speed(estimate=self.ratio, low=self.ratio - 0.05, high=self.ratio + 0.05)


def test_a_slower_file_is_refused_or_kept_with_the_verdict(
    float_file, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("exporters.quantize.gate.paired_speed", Timed(0.8))
    out = tmp_path / "q.onnx"
    with pytest.raises(GateFailed, match=r"0\.80 times .* nothing was written.*when_slower=keep"):
        quantize(float_file, out, images, config=QuantizeConfig(when_slower="refuse"))
    assert not out.exists()
    report = quantize(float_file, out, images, config=QuantizeConfig(when_slower="keep"))
    assert report.verdict == "float"
    assert "slower than the float model" in report.advice[0]


def test_a_file_within_the_noise_of_float_is_not_called_slower(
    float_file, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("exporters.quantize.gate.paired_speed", Timed(0.98))
    config = QuantizeConfig(when_slower="refuse")
    report = quantize(float_file, tmp_path / "q.onnx", images, config=config)
    assert report.verdict == "quantized"


def test_noise_is_refused_unless_asked_for(float_file, tmp_path):
    random = np.random.default_rng(0)
    noise = random.standard_normal((16, 1, 20, 20)).astype(np.float32)
    with pytest.raises(PoolError, match=r"pure noise.*allow_noise"):
        quantize(float_file, tmp_path / "q.onnx", lambda: iter([noise]))
    config = QuantizeConfig(allow_noise=True, latency_seconds=0)
    quantize(float_file, tmp_path / "q.onnx", lambda: iter([noise]), config=config)


def test_a_file_without_a_card_is_refused(float_file, images, tmp_path):
    model = onnx.load(float_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ArtifactError, match="cake-edge export"):
        quantize(tmp_path / "bare.onnx", tmp_path / "q.onnx", images)


def poisoned(model):
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(
            np.full(list(model.graph.initializer[0].dims), np.nan, np.float32),
            model.graph.initializer[0].name,
        )
    )


def fixed(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def misdescribed(model):
    card = model.metadata_props[0]
    card.value = card.value.replace('"input_size":[1,20,20]', '"input_size":[1,20,24]')


def branched(model):
    twin = model.graph.output.add()
    twin.CopyFrom(model.graph.output[0])
    twin.name = model.graph.node[-1].input[0]
    twin.type.tensor_type.shape.dim[1].dim_value = 32


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (poisoned, NumericsError, "holds a NaN or an infinity"),
        (fixed, ArtifactError, "takes batches of 4 images only"),
        (misdescribed, ArtifactError, r"its metadata says \[1, 20, 24\]"),
        (branched, ArtifactError, "2 outputs; a classifier has one of each"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    float_file, images, tmp_path, change, error, said
):
    model = onnx.load(float_file)
    change(model)
    path = tmp_path / "changed.onnx"
    onnx.save(model, path)
    with pytest.raises(error, match=rf"changed\.onnx.*{said}"):
        quantize(path, tmp_path / "int8.onnx", images)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_nothing_to_quantize_is_refused(card, images, tmp_path):
    make = onnx.helper
    ends = [
        make.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 1, 20, 20]),
        make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 400]),
    ]
    graph = make.make_graph(
        [make.make_node("Flatten", ["input"], ["logits"])], "g", ends[:1], ends[1:]
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    attach_card(model, card)
    onnx.save(model, tmp_path / "flat.onnx")
    with pytest.raises(ArtifactError, match="no operator that ort-x86 computes in INT8"):
        quantize(tmp_path / "flat.onnx", tmp_path / "int8.onnx", images)


def test_a_channel_that_is_always_zero_does_no_harm(float_file, images, tmp_path):
    # All channels of one layer, so that a whole tensor has no range.
    model = onnx.load(float_file)
    dead = next(node for node in model.graph.node if node.op_type == "Conv")
    for name, value in ((dead.input[1], 0.0), (dead.input[2], -1.0)):
        constant = next(one for one in model.graph.initializer if one.name == name)
        values = np.full(list(constant.dims), value, np.float32)
        constant.CopyFrom(onnx.numpy_helper.from_array(values, name))
    path = tmp_path / "dead.onnx"
    onnx.save(model, path)
    for target in ("ort-x86", "tensorrt"):
        out = tmp_path / f"{target}.onnx"
        config = QuantizeConfig(latency_seconds=0)
        quantize(path, out, images, target=target, config=config)
        assert np.isfinite(logits(out, images)).all()
        np.testing.assert_allclose(logits(out, images), logits(path, images), atol=0.2)


def test_images_of_any_size_are_refused_before_any_work(float_file, images, tmp_path):
    model = onnx.load(float_file)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    path = tmp_path / "dynamic.onnx"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"dynamic\.onnx takes images of shape .*height"):
        quantize(path, tmp_path / "q.onnx", images)


def test_weights_that_lie_elsewhere_are_refused(float_file, images, tmp_path):
    model = onnx.load(float_file)
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=256)
    quantize(path, tmp_path / "q.onnx", images, config=QuantizeConfig(latency_seconds=0))
    (inside / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(ArtifactError, match=r"weights\.bin"):
        quantize(path, tmp_path / "again.onnx", images)
    assert not (tmp_path / "again.onnx").exists()


def test_an_int8_file_is_not_quantized_again(done, images, tmp_path):
    _, out = done
    with pytest.raises(ArtifactError, match="quantized already"):
        quantize(out, tmp_path / "q.onnx", images)


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (np.zeros((4, 1, 20, 20), np.float32), PoolError),
        (np.zeros((9, 1, 10, 10), np.float32), PoolError),
        (np.full((9, 1, 20, 20), np.nan, np.float32), NumericsError),
    ],
)
def test_images_that_will_not_do_leave_nothing_behind(float_file, tmp_path, batch, error):
    with pytest.raises(error):
        quantize(float_file, tmp_path / "q.onnx", lambda: iter([batch]))
    assert list(tmp_path.iterdir()) == []
