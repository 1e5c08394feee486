"""Models of equal threads and batch, measured together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reference.boards import BOARDS, plant
from reference.deadly_models import healthy, hog

from cake_edge.provenance import sha256_file
from exporters.devices import find_rails
from exporters.remote import BenchOptions
from exporters.remote.group import measure_group, why_foreign

SHORT = BenchOptions(seconds=0.05, energy_seconds=0.3, idle_seconds=0, power_hz=200)


def test_rows_are_in_the_order_given_and_plain_values(tmp_path):
    rails = find_rails(plant(tmp_path / "nano", BOARDS["orin-nano"]))
    paths = [hog(tmp_path / "hog.onnx"), healthy(tmp_path / "a.onnx")]
    told = []
    rows = measure_group(
        [(path, sha256_file(path)) for path in paths], SHORT, 1, 2, rails,
        lambda *words: told.append(words[0]),
    )  # fmt: skip
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert [row["sha256"] for row in rows] == [sha256_file(path) for path in paths]
    lost, well = rows
    # What failed was not waited for again when energy was measured.
    assert (lost["energy"], lost["samples_ms"], lost["batch"]) == (None, None, 2)
    assert well["energy"]["inferences"] % 2 == 0
    assert well["cold_start"] is None
    assert list(dict.fromkeys(told)) == ["opening", "latency", "energy"]


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
