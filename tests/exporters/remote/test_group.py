"""Models of equal threads and batch, measured together."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace

import numpy as np
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


def test_brought_images_are_gone_when_it_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = healthy(tmp_path / "a.onnx")
    chosen = replace(SHORT, energy_seconds=0, cold_runs=1, input="photos")
    lying = []

    def brought(count, spec):
        lying.extend(tmp_path.glob("cake-edge-*"))
        return np.zeros((count, 3, 8, 8), np.float32)

    given = [(path, sha256_file(path))]
    rails = find_rails(tmp_path)
    (row,) = measure_group(given, chosen, 1, 2, rails, silent, brought)
    assert (row["failure"], row["cold_start"]["runs"]) == (None, 1)
    assert len(lying) == 1
    assert list(tmp_path.glob("cake-edge-*")) == []


def test_doubts_of_a_row_are_sentences(tmp_path):
    path = healthy(tmp_path / "a.onnx")
    chosen = replace(SHORT, energy_seconds=0, seconds=0.001)
    given = [(path, sha256_file(path)), (hog(tmp_path / "b.onnx"), "0" * 64)]
    timed, lost = measure_group(given, chosen, 1, 1, find_rails(tmp_path), silent)
    assert any("p99 rests on fewer than ten of" in doubt for doubt in timed["doubts"])
    assert lost["doubts"] == []
