"""Models of equal threads and batch, measured together."""

from __future__ import annotations

import json
from dataclasses import replace

from reference.boards import BOARDS, plant
from reference.deadly_models import healthy, hog

from cake_edge.progress import silent
from cake_edge.provenance import sha256_file
from exporters.devices import find_rails
from exporters.remote import BenchOptions
from exporters.remote.group import measure_group

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


def test_a_row_says_with_what_it_was_computed(tmp_path):
    path = healthy(tmp_path / "a.onnx")
    chosen = replace(SHORT, spinning=True, energy_seconds=0)
    given = [(path, sha256_file(path))]
    (row,) = measure_group(given, chosen, 1, 1, find_rails(tmp_path), silent)
    assert row["failure"] is None
    assert row["runtime"]["provider"] == "cpu"
    assert row["runtime"]["options"]["session.intra_op.allow_spinning"] == "1"


def test_input_on_a_device_wants_a_provider_that_has_memory(tmp_path):
    path = healthy(tmp_path / "a.onnx")
    chosen = replace(SHORT, device_input=True, energy_seconds=0)
    given = [(path, sha256_file(path))]
    (row,) = measure_group(given, chosen, 1, 1, find_rails(tmp_path), silent)
    assert row["latency_ms"] is None
    assert "provider cpu has no memory of its own" in row["failure"]
