"""`cake-edge scenario` on a network of one operator."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cake_edge.cli import scenario
from exporters.latency.scenario_config import SCENARIOS


@pytest.fixture
def model(tmp_path):
    """[batch, 3, 2, 2] to [batch, 12]; it says nothing of itself."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["logits"])],
        "nothing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 12])],
    )
    path = tmp_path / "nothing.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    return path


def test_the_words_of_the_options_are_those_of_the_measurement():
    assert tuple(SCENARIOS) == scenario.SCENARIOS


@pytest.mark.parametrize(
    "options",
    [
        ("--scenario", "single-stream"),
        ("--scenario", "multi-stream", "--streams", 3),
        ("--scenario", "offline", "--batch", 4, "--workers", 2, "--input", "zeros"),
        ("--scenario", "server", "--qps", 3000),
    ],
)
def test_every_scenario_is_measured_and_kept(run_json, model, tmp_path, options):
    out = tmp_path / "found.json"
    found = run_json("scenario", model, *options, "--seconds", "0.3", "--out", out)
    kept = json.loads(out.read_text())
    assert found["scenario"] == options[1]
    assert found["valid"]
    assert found["value"] > 0
    assert "not a submission" in found["note"]
    assert len(kept["samples_ms"]) == found["latency_ms"]["n_samples"]
    assert kept["environment"]["clock"]
    assert {**found, "samples_ms": kept["samples_ms"]} == kept


def test_the_text_has_the_figure_and_says_what_it_is_not(run, model):
    result = run("scenario", model, "--seconds", "0.1")
    assert result.exit_code == 0
    assert "p90 ms, early-stopping estimate: 0.0" in result.stdout
    assert "not a submission" in result.stdout


def test_a_bound_that_no_rate_holds_is_a_failure(run, model):
    result = run(
        "scenario", model, "--scenario", "server", "--bound-ms", "0.0001", "--seconds", "0.1"
    )
    assert result.exit_code == 1
    assert "even without a queue" in result.stdout
    assert "held" not in result.stdout


def test_pixels_need_a_card(run, model):
    result = run("scenario", model, "--input", "pixels")
    assert result.exit_code == 2
    assert "take random" in result.stderr


def test_a_server_without_a_rate_or_a_bound_is_wrong_usage(run, model):
    result = run("scenario", model, "--scenario", "server")
    assert result.exit_code == 2
    assert "bound_ms" in result.stderr


def test_images_of_ones_own_are_what_it_sees(run, run_json, model, tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.ones((3, 3, 2, 2), np.float32))
    words = ("scenario", model, "--input", path, "--scenario", "multi-stream", "--streams", 5)
    found = run_json(*words, "--seconds", "0.05", "--max-seconds", 5)
    assert found["input"].startswith("mine.npz (sha256 ")
    assert found["images_per_query"] == 5
    shown = run("scenario", model, "--input", "zeros", "--seconds", "0.05")
    assert "The input was zeros." in shown.stdout
    other = tmp_path / "other.npz"
    np.savez(other, images=np.ones((3, 3, 2, 3), np.float32))
    refused = run("scenario", model, "--input", other, "--seconds", "0.05")
    assert refused.exit_code == 1
    assert "the model takes [3, 2, 2]" in refused.stderr
