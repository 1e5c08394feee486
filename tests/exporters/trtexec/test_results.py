"""What trtexec measured becomes rows of our result, with what is inside the clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.trtexec import rows_from_trtexec

Leave = Callable[..., Path]
Print = Callable[..., str]


def only_row(*paths: Path) -> dict[str, Any]:
    (row,) = rows_from_trtexec(paths)["models"]
    assert isinstance(row, dict)
    json.dumps(row, allow_nan=False)
    return row


def test_a_run_becomes_a_row_with_its_samples(leave: Leave) -> None:
    folder = leave()
    row = only_row(folder)
    exported = [each["latencyMs"] for each in json.loads((folder / "times.json").read_text())]
    assert row["samples_ms"] == [[each] for each in exported]
    assert row["path"] == "model.onnx"
    latency = row["latency_ms"]
    assert latency["n_samples"] == 1200
    assert latency["p99_reliable"]
    ordered = sorted(exported)
    assert latency["p50"] == ordered[599]
    assert latency["p99"] == ordered[1187]
    assert latency["mean"] == pytest.approx(np.mean(exported))
    assert latency["images_per_second"] == 480.5
    steps = row["trtexec"]["steps_ms"]
    assert (steps["h2d"], steps["d2h"]) == (0.25, 0.25)
    assert steps["compute"] == pytest.approx(latency["p50"] - 0.5, rel=1e-3)


@pytest.mark.parametrize("new", [False, True])
def test_layers_and_their_times_come_along(leave: Leave, tell_layers: Any, new: bool) -> None:
    told = only_row(leave(layers=tell_layers(new)))["trtexec"]
    assert told["layers"] == {"layers": 2, "precisions": {"int8": 2}, "reformats": 0, "dla": 0}
    assert told["profile"] == [{"name": "conv1 + relu1", "ms": 1.5}, {"name": "fc", "ms": 0.5}]


@pytest.mark.parametrize(
    ("packed", "version"),
    [("8601", "8.6.1"), ("100300", "10.3.0"), ("101302", "10.13.2"), ("110100", "11.1.0")],
)
def test_the_version_is_read_from_its_first_line(
    leave: Leave, print_log: Print, packed: str, version: str
) -> None:
    assert only_row(leave(log=print_log(packed)))["trtexec"]["version"] == version


def test_a_version_that_is_stated_is_believed(leave: Leave, print_log: Print) -> None:
    stated = "[11/02/2026-10:00:00] [I] TensorRT version: 10.3.0\n"
    row = only_row(leave(log=print_log("100399", version=stated)))
    assert row["trtexec"]["version"] == "10.3.0"


@pytest.mark.parametrize(
    ("packed", "words", "inside", "graph", "waiting"),
    [
        ("8601", "", "copy to the GPU, network and copy back", "without", "sleeping"),
        ("8601", "--noDataTransfers --useCudaGraph --useSpinWait", "no copies", "with", "spinning"),
        ("100300", "", "copy to the GPU, network and copy back", "without", "sleeping"),
        ("110100", "", "the network alone, no copies", "with", "spinning"),
        ("110100", "--includeDataTransfers --noCudaGraph --noSpinWait", "copy back", "without",
         "sleeping"),
        ("110100", "--useCudaGraph", "no copies", "with", "spinning"),
    ],
)  # fmt: skip
def test_what_is_inside_the_clock_follows_version_and_flags(
    leave: Leave, print_log: Print, packed: str, words: str, inside: str, graph: str, waiting: str
) -> None:
    clock = only_row(leave(log=print_log(packed, f"--onnx=a.onnx {words}", states=False)))["clock"]
    assert inside in clock
    assert f"; {graph} a CUDA graph, {waiting}" in clock


def test_what_the_run_states_is_believed_over_its_flags(leave: Leave, print_log: Print) -> None:
    stated = print_log("100300", "--onnx=a", transfers="Enabled", graph="Disabled", spin="Disabled")
    clock = only_row(leave(log=stated))["clock"]
    assert clock.startswith("copy to the GPU, network and copy back")
    assert "without a CUDA graph, sleeping" in clock
    assert "nothing of the host's own time" in clock


def test_without_the_log_the_clock_is_not_guessed(leave: Leave) -> None:
    row = only_row(leave("resnet", log=None))
    assert "whether copies are in it is not stated" in row["clock"]
    assert row["path"] == "resnet"
    assert "images_per_second" not in row["latency_ms"]


def test_what_it_prints_is_enough_without_samples(leave: Leave, print_log: Print) -> None:
    row = only_row(leave(times=None, profile=None, layers=None, log=print_log(qps="1.5e+03")))
    latency = row["latency_ms"]
    assert row["samples_ms"] is None
    assert (latency["p50"], latency["p90"], latency["p95"], latency["p99"]) == (2, 2.5, 2.75, 4.5)
    assert (latency["min"], latency["max"], latency["mean"]) == (1.5, 9.25, 2.125)
    assert latency["images_per_second"] == 1500
    assert "n_samples" not in latency
    assert row["trtexec"]["steps_ms"] is None


@pytest.mark.parametrize(
    ("more", "batch"),
    [
        ({"batch": 8}, 8),
        ({"states": False, "words": "--onnx=a --shapes=x:4x3x8x8 --optShapes=x:2x3x8x8"}, 4),
        ({"states": False, "words": "--onnx=a --optShapes=x:2x3x8x8"}, 2),
        ({"states": False, "words": "--onnx=a"}, 1),
    ],
)
def test_images_are_counted_and_not_calls(
    leave: Leave, print_log: Print, more: dict[str, Any], batch: int
) -> None:
    latency = only_row(leave(log=print_log(**more)))["latency_ms"]
    assert latency["batch"] == batch
    assert latency["images_per_second"] == 480.5 * batch


def test_its_own_doubts_are_passed_on(leave: Leave, print_log: Print) -> None:
    unstable = (
        "[11/02/2026-10:00:20] [W] * GPU compute time is unstable, with coefficient of variance "
        "= 4.7%.\n[11/02/2026-10:00:20] [W]   If not already in use, lock the clock.\n"
    )
    found = rows_from_trtexec([leave(times=None, log=print_log(unstable=unstable))])
    assert found["models"][0]["latency_ms"]["unstable"] is True
    doubt = "GPU compute time is unstable, with coefficient of variance = 4.7%."
    assert found["environment"]["warnings"] == [doubt]


def test_several_runs_are_several_rows(leave: Leave, print_log: Print) -> None:
    a, b = leave("a"), leave("b", log=print_log("110100", "--loadEngine=b.engine"))
    found = rows_from_trtexec([a, b])
    assert [row["path"] for row in found["models"]] == ["model.onnx", "b.engine"]
    runtime = found["environment"]["runtime"]
    assert (runtime["version"], runtime["gpu"], runtime["compute_capability"]) == (
        None, "Orin", "8.7",
    )  # fmt: skip
    assert found["schema_version"] == 1


def test_files_by_themselves_are_one_run(leave: Leave) -> None:
    folder = leave()
    row = only_row(folder / "times.json", folder / "log.log")
    assert row["latency_ms"]["n_samples"] == 1200
    assert row["trtexec"]["layers"] is None


def test_an_engine_in_the_folder_is_passed_over(leave: Leave) -> None:
    folder = leave()
    (folder / "model.engine").write_bytes(b"\0")
    only_row(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"times": '[{"latencyMs": 1.5'}, r"times\.json is damaged .*stopped while it wrote"),
        ({"times": "[]"}, "neither times, profile nor layers"),
        ({"times": "3"}, "neither times, profile nor layers"),
        ({"times": [{"latencyMs": 1.5}, {}]}, "an entry has no number 'latencyMs'"),
        ({"times": [{"latencyMs": "x"}]}, "an entry has no number 'latencyMs'"),
        ({"times": [{"latencyMs": -1}]}, "'latencyMs' is not a time"),
        ({"times": [{"latencyMs": 1}]}, "an entry has no number 'h2dMs'"),
        ({"profile": [{"count": 3}, {"name": "a"}]}, r"profile\.json is damaged"),
        ({"layers": '{"Layers": [3]}'}, "not the layer information of an engine"),
        ({"profile": [{"latencyMs": 1.5}]}, "are both times of one run; give each run a folder"),
        ({"log": "nothing of trtexec"}, r"log\.log is not what trtexec prints"),
        ({"times": None, "log": None}, "neither --exportTimes nor a performance summary"),
        ({"times": None, "log": None, "profile": None, "layers": None}, "no output of trtexec"),
    ],
)
def test_damaged_input_is_refused_in_a_sentence(
    leave: Leave, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        rows_from_trtexec([leave(**files)])


def test_a_run_that_failed_says_why(leave: Leave, print_log: Print) -> None:
    error = "[11/02/2026-10:00:00] [E] Error[4]: x.onnx: Failed to parse\n"
    with pytest.raises(ArtifactError, match=r"trtexec failed: Error\[4\]: x\.onnx: Failed to pa"):
        rows_from_trtexec([leave(log=print_log(ending="FAILED", unstable=error))])


def test_percentiles_that_were_not_asked_for_are_missed(leave: Leave, print_log: Print) -> None:
    old = print_log("8601").replace("percentile(90%) = 2.5 ms, percentile(95%) = 2.75 ms, ", "")
    with pytest.raises(ArtifactError, match=r"gives no p90, p95; run trtexec with --percentile"):
        rows_from_trtexec([leave(times=None, log=old)])


def test_nothing_and_nowhere_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="no output of trtexec is given"):
        rows_from_trtexec([])
    with pytest.raises(ArtifactError, match=r"missing\.json is not a file of trtexec's"):
        rows_from_trtexec([tmp_path / "missing.json"])
    (tmp_path / "picture.png").touch()
    with pytest.raises(ArtifactError, match=r"picture\.png is not a file of trtexec's"):
        rows_from_trtexec([tmp_path / "picture.png"])
