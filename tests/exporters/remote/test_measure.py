"""Latency and energy of models on the machine at hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from reference.boards import BOARDS, plant
from reference.deadly_models import healthy, hog

from cake_edge.errors import ArtifactError, DatasetError, UsageMistake
from cake_edge.provenance import sha256_file, write_json
from exporters.artifact import attach_card
from exporters.devices import find_rails
from exporters.latency.bench_file import read_bench_file
from exporters.latency.match import match_rows
from exporters.remote import BenchOptions
from exporters.remote.journal import Journal
from exporters.remote.measure import bench_rows, measure_here
from exporters.report.bench_lines import bench_lines

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


def test_every_number_of_threads_and_batch_is_a_row_that_a_comparison_finds_again(
    float_file, no_rails, tmp_path
):
    options = replace(SHORT, threads=(1, 2), batch=(1, 4))
    found = measure_here([float_file], options)
    settings = [(row["threads"], row["latency_ms"]["batch"]) for row in found["models"]]
    assert settings == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert found["environment"]["threads"] is None
    assert {max(best) for best in found["best"]} == {"throughput"}
    assert [row["speedup"] for row in found["models"]] == [None] * 4  # each of its own setting

    path = tmp_path / "bench.json"
    write_json(path, found)
    read = read_bench_file(path)
    pairs, left, right = match_rows(read.rows, read.rows[::-1])
    assert [(pair.base.threads, pair.base.batch) for pair in pairs] == settings
    assert all(pair.base is pair.new for pair in pairs)
    assert (left, right) == ([], [])
    assert len({line.name for line in bench_lines([read])}) == 4


def test_rows_of_one_number_of_threads_leave_it_to_the_environment(float_file, no_rails):
    (row,) = bench_rows([float_file], replace(SHORT, threads=(2,)), no_rails).rows
    assert row["threads"] is None
    assert row["runtime"]["threads"] == 2


def test_models_apart_are_compared_by_their_medians(float_file, no_rails):
    options = replace(SHORT, interleave=False)
    one, two = bench_rows([float_file, float_file], options, no_rails).rows
    assert one["speedup"] is None
    assert two["speedup"]["paired"] is False


def test_a_sweep_ends_where_the_file_does_and_says_so(no_rails, tmp_path):
    fixed, free = healthy(tmp_path / "a.onnx", batch=1), healthy(tmp_path / "b.onnx")
    options = replace(SHORT, sweep_batch=True, max_batch=2)
    rows = bench_rows([fixed, free], options, no_rails).rows
    assert [(row["latency_ms"]["batch"], row["failure"]) for row in rows] == [
        (1, None), (1, None), (2, None),
    ]  # fmt: skip
    assert "made for batches of 1" in rows[0]["sweep_end"]
    assert rows[1]["sweep_end"] is None
    assert rows[2]["sweep_end"] == "it is the largest that was asked for"


def test_a_model_that_fails_costs_its_row_and_not_the_first_place(no_rails, tmp_path):
    models = [hog(tmp_path / "a.onnx"), healthy(tmp_path / "b.onnx"), healthy(tmp_path / "c.onnx")]
    found = bench_rows(models, replace(SHORT, cold_runs=1), no_rails)
    lost, first, second = found.rows
    assert lost["failure"].startswith("out of memory")
    assert (lost["failure_kind"], lost["cold_start"], lost["memory_mib"]) == (
        "WorkerFailed", None, None,
    )  # fmt: skip
    assert (first["speedup"], second["speedup"]["paired"]) == (None, True)
    assert first["cold_start"]["runs"] == 1
    assert set(first["memory_mib"]) == {"before_load", "after_load", "peak", "device"}
    assert found.runtime["runtime"] == "ort"


def test_where_nothing_could_be_measured_there_is_still_a_result(no_rails, tmp_path):
    found = bench_rows([hog(tmp_path / "a.onnx")], SHORT, no_rails)
    assert found.rows[0]["latency_ms"] is None
    assert found.runtime == {"runtime": "ort"}


def test_finished_groups_are_taken_up_and_the_others_measured(float_file, no_rails, tmp_path):
    options = replace(SHORT, batch=(1, 2))
    models, out = [float_file, float_file], tmp_path / "bench.json"
    journal = Journal(out, models, options, resume=False)
    before = bench_rows(models, options, no_rails, journal=journal).rows
    lines = journal.path.read_text().splitlines()
    journal.path.write_text("\n".join(lines[:4]) + "\n")  # the second group lost one of its rows

    after = bench_rows(
        models, options, no_rails, journal=Journal(out, models, options, resume=True)
    ).rows
    same = [one["samples_ms"] == two["samples_ms"] for one, two in zip(before, after, strict=True)]
    assert same == [True, False, True, False]
    # Rows that took turns are of one run: a pair of two runs would be none.
    assert after[3]["speedup"]["paired"] is True


def test_images_that_fit_no_model_are_the_answer_and_that_fit_one_cost_the_others_rows(
    float_file, no_rails, tmp_path
):
    def brought(count, spec):
        return np.zeros((count, 3, 8, 8), np.float32)

    options = replace(SHORT, input="mine.npz")
    with pytest.raises(DatasetError, match="the model takes"):
        bench_rows([float_file], options, no_rails, brought=brought)
    lost, well = bench_rows(
        [float_file, healthy(tmp_path / "a.onnx")], options, no_rails, brought=brought
    ).rows
    assert (lost["failure_kind"], lost["latency_ms"]) == ("DatasetError", None)
    assert well["latency_ms"]["p50"] > 0


def test_the_input_is_stated_and_must_be_there(float_file, no_rails):
    found = measure_here([float_file], replace(SHORT, input="zeros"))
    assert found["environment"]["input"] == found["options"]["input"] == "zeros"
    with pytest.raises(UsageMistake, match=r"'mine\.npz'.*not here.*random, zeros, pixels"):
        bench_rows([float_file], replace(SHORT, input="mine.npz"), no_rails)
