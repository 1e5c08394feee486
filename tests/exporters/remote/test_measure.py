"""Latency and energy of models on the machine at hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from reference.boards import BOARDS, plant

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import sha256_file
from exporters.artifact import attach_card
from exporters.devices import find_rails
from exporters.remote import BenchOptions
from exporters.remote.group import why_foreign
from exporters.remote.measure import bench_rows, measure_here

SHORT = BenchOptions(seconds=0.05, energy_seconds=0.3, idle_seconds=0.1, power_hz=200)


@pytest.fixture
def foreign_file(float_file, card, tmp_path):
    """The same network, said to be for another machine."""
    model = onnx.load(float_file)
    attach_card(model, replace(card, precision="int8", target="tensorrt"))
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def no_rails(tmp_path):
    return find_rails(plant(tmp_path / "pi", BOARDS["raspberry-pi-5"]))


@pytest.fixture
def rails(tmp_path):
    return find_rails(plant(tmp_path / "nano", BOARDS["orin-nano"]))


def test_rows_have_what_a_report_needs(float_file, no_rails):
    found = bench_rows([float_file, float_file], SHORT, no_rails)
    one, two = found.rows
    assert one["sha256"] == sha256_file(float_file)
    assert (one["role"], one["architecture"], one["target"]) == ("student", "resnet10t", "any")
    assert one["bytes"] == float_file.stat().st_size
    assert one["latency_ms"]["n_samples"] == np.size(one["samples_ms"])
    assert one["speedup"] is None
    assert two["speedup"]["low"] <= two["speedup"]["estimate"] <= two["speedup"]["high"]
    assert one["energy"] is None
    assert found.runtime["runtime"] == one["runtime"]["runtime"] == "ort"


def test_energy_is_that_of_the_rails(float_file, rails):
    (row,) = bench_rows([float_file], replace(SHORT, energy_seconds=0.6), rails).rows
    energy = row["energy"]
    assert energy["rail"] == "VDD_IN"
    assert energy["mean_watts"] == pytest.approx(4.984)
    assert energy["idle_watts"] == pytest.approx(4.984)
    assert energy["millijoules"] == pytest.approx(4984 * energy["seconds"] / energy["inferences"])
    assert any("hardly more than when idle" in doubt for doubt in energy["doubts"])


def test_a_batch_counts_all_its_images(float_file, rails):
    options = replace(SHORT, batch=(4,), idle_seconds=0)
    (row,) = bench_rows([float_file], options, rails).rows
    energy = row["energy"]
    assert energy["inferences"] % 4 == 0
    assert energy["idle_watts"] is None
    assert row["latency_ms"]["batch"] == 4


def test_energy_can_be_left_out(float_file, rails):
    (row,) = bench_rows([float_file], replace(SHORT, energy_seconds=0), rails).rows
    assert row["energy"] is None


def test_a_file_for_another_machine_is_listed_and_not_timed(float_file, foreign_file, rails):
    rows = bench_rows([foreign_file, float_file], SHORT, rails).rows
    assert "tensorrt" in rows[0]["foreign"]
    assert (rows[0]["latency_ms"], rows[0]["samples_ms"], rows[0]["energy"]) == (None,) * 3
    assert (rows[1]["foreign"], rows[1]["speedup"]) == (None, None)
    assert rows[1]["latency_ms"]["p50"] > 0


def test_only_files_for_other_machines_are_refused_unless_forced(foreign_file, no_rails):
    with pytest.raises(ArtifactError, match=r"other\.onnx was made for tensorrt.*--force"):
        bench_rows([foreign_file], SHORT, no_rails)
    (row,) = bench_rows([foreign_file], replace(SHORT, force=True), no_rails).rows
    assert row["latency_ms"]["p50"] > 0
    assert row["foreign"] is not None


def test_a_runtime_that_is_not_there(float_file, no_rails):
    with pytest.raises(UsageMistake, match="no runtime 'abacus'"):
        bench_rows([float_file], replace(SHORT, runtime="abacus"), no_rails)


def test_a_whole_measurement_is_plain_values_with_the_device_before_and_after(float_file):
    told = []
    found = measure_here([float_file], SHORT, lambda *words: told.append(words[0]))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found["device"]) == {"before", "after"}
    assert found["options"] == SHORT.to_dict()
    assert found["environment"]["threads"] == 1
    assert "latency" in told


@pytest.mark.parametrize(
    ("target", "runtime", "foreign"),
    [
        ("any", "ort", False),
        ("any", "tensorrt", False),
        ("tensorrt", "tensorrt", False),
        ("tensorrt-fp16", "tensorrt", False),
        ("ort-arm", "tensorrt", True),
        ("tensorrt", "ort", True),
    ],
)
def test_a_file_is_for_the_runtime_that_its_target_names(card, target, runtime, foreign):
    said = why_foreign(replace(card, target=target), runtime)
    assert (said is not None) is foreign


def test_a_file_that_says_nothing_of_itself_is_for_every_runtime():
    assert why_foreign(None, "ort") is None
    assert why_foreign(None, "tensorrt") is None
