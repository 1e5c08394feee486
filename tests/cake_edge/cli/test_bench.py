"""`cake-edge bench` on networks of one convolution."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

from cake_edge.provenance import sha256_file
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard, attach_card

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
QUICK = ("--seconds", "0.05")
SPEC = ImageSpec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4)


def write_model(
    path: Path, *, role: str | None = "student", height: int | str = 8, target: str = "any"
) -> Path:
    """A convolution, a mean over pixels, and four logits."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["features"]),
            helper.make_node("GlobalAveragePool", ["features"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, height, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if role is not None:
        card = ModelCard(
            architecture="one_conv", spec=SPEC, role=role, parent="0" * 64, parameters=108,
            target=target,
        )  # fmt: skip
        attach_card(model, card)
    onnx.save(model, path)
    return path


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_model(tmp_path / "teacher.onnx", role="teacher")


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_model(tmp_path / "student.onnx")


def test_models_are_measured_together_and_compared_with_the_first(
    run_json: RunJson, teacher: Path, student: Path
) -> None:
    found = run_json("bench", teacher, student, *QUICK)
    first, second = found["models"]
    assert (first["role"], second["role"]) == ("teacher", "student")
    assert second["sha256"] == sha256_file(student)
    assert second["bytes"] == student.stat().st_size
    assert second["parameters"] == 108
    assert first["speedup"] is None
    ratio = second["speedup"]
    assert 0 < ratio["low"] <= ratio["estimate"] <= ratio["high"]
    for model in found["models"]:
        latency = model["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
    assert first["latency_ms"]["n_samples"] == second["latency_ms"]["n_samples"] >= 100
    assert found["environment"]["threads"] == 1
    assert found["environment"]["runtime"]["runtime"] == "ort"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    return write_model(tmp_path / "student.trt.onnx", target="tensorrt")


WHY = "made for tensorrt, which is not what ort runs"


def test_a_file_for_another_machine_is_listed_and_not_timed(
    run: Run, run_json: RunJson, teacher: Path, student: Path, foreign: Path, tmp_path: Path
) -> None:
    out = tmp_path / "latency.json"
    found = run_json("bench", foreign, teacher, student, "--out", out, *QUICK)
    other, first, second = found["models"]
    assert (other["latency_ms"], other["speedup"], other["foreign"]) == (None, None, WHY)
    assert other["bytes"] == foreign.stat().st_size
    # The first that was timed is what the others are compared with.
    assert first["speedup"] is None
    assert second["speedup"]["estimate"] > 0
    assert first["foreign"] is second["foreign"] is None
    saved = json.loads(out.read_text(encoding="utf-8"))["models"]
    assert [bool(model["samples_ms"]) for model in saved] == [False, True, True]
    shown = run("bench", foreign, student, *QUICK)
    assert shown.exit_code == 0, shown.output
    assert f"Note: {foreign} was {WHY}: not timed." in shown.stdout


def test_times_of_another_machine_are_taken_by_force_alone(run: Run, foreign: Path) -> None:
    refused = run("bench", foreign, *QUICK)
    assert refused.exit_code == 1
    assert f"{foreign} was {WHY}" in refused.stderr
    assert "--force" in refused.stderr
    forced = run("bench", foreign, "--force", *QUICK)
    assert forced.exit_code == 0, forced.output
    assert f"Note: {foreign} was {WHY}: the time says nothing of its target." in forced.stdout


def test_a_file_can_be_timed_against_itself(run_json: RunJson, student: Path) -> None:
    first, second = run_json("bench", student, student, *QUICK)["models"]
    assert first["speedup"] is None
    assert second["speedup"]["low"] <= second["speedup"]["high"]


def test_a_batch_is_counted_in_images(run_json: RunJson, student: Path) -> None:
    (model,) = run_json("bench", student, "--batch", 4, *QUICK)["models"]
    latency = model["latency_ms"]
    assert latency["batch"] == 4
    assert latency["images_per_second"] <= 4 * 1000 / latency["mean"] * 1.0001


def test_every_sample_goes_into_the_file(run: Run, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    result = run("bench", student, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    (model,) = json.loads(out.read_text(encoding="utf-8"))["models"]
    samples = np.array(model["samples_ms"])
    assert samples.size == model["latency_ms"]["n_samples"]
    assert samples.max() == model["latency_ms"]["max"]
    assert str(out) in result.stdout


def test_the_table_names_models_and_percentiles(run: Run, teacher: Path, student: Path) -> None:
    result = run("bench", teacher, student, *QUICK)
    assert result.exit_code == 0, result.output
    header, _, first, second, *_ = result.stdout.splitlines()
    assert header.split()[:7] == ["model", "size", "p50", "ms", "p90", "p95", "p99"]
    assert first.startswith(str(teacher))
    assert "x [" in second


def test_a_file_of_another_origin_can_be_measured(run_json: RunJson, tmp_path: Path) -> None:
    (model,) = run_json("bench", write_model(tmp_path / "x.onnx", role=None), *QUICK)["models"]
    assert model["role"] is None
    assert model["latency_ms"]["p50"] > 0


def test_a_file_that_does_not_fix_its_image_size_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("bench", write_model(tmp_path / "x.onnx", role=None, height="rows"), *QUICK)
    assert result.exit_code == 1
    assert "does not fix the size of its input" in result.stderr


def test_a_taken_output_is_refused_before_anything_is_measured(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    out.write_text("{}", encoding="utf-8")
    result = run("bench", tmp_path / "absent.onnx", "--out", out)
    assert result.exit_code == 1
    assert "latency.json is a file already" in result.stderr
    assert out.read_text(encoding="utf-8") == "{}"


def test_a_missing_model_is_named(run: Run, tmp_path: Path) -> None:
    result = run("bench", tmp_path / "absent.onnx", *QUICK)
    assert result.exit_code == 1
    assert "absent.onnx does not exist" in result.stderr


def test_no_model_is_wrong_usage(run: Run) -> None:
    assert run("bench").exit_code == 2


def test_threads_and_batches_are_rows_and_the_best_are_named(
    run: Run, run_json: RunJson, student: Path
) -> None:
    found = run_json("bench", student, "--threads", "1,2", "--batch", "1,4", *QUICK)
    settings = [(row["threads"], row["latency_ms"]["batch"]) for row in found["models"]]
    assert settings == [(1, 1), (1, 4), (2, 1), (2, 4)]
    (best,) = found["best"]
    rates = [row["latency_ms"]["images_per_second"] for row in found["models"]]
    assert rates[best["throughput"]] == max(rates)
    shown = run("bench", student, "--batch", "1,4", *QUICK)
    header, _, *rows = shown.stdout.splitlines()
    assert header.split()[:3] == ["model", "size", "batch"]
    assert "threads" not in header
    # On a busy machine four images can take less time than one.
    medians = {row: float(row.split()[4]) for row in rows if row.startswith(str(student))}
    (named,) = (row for row in rows if "lowest latency" in row)
    assert medians[named] == min(medians.values())
    assert len(medians) == 2


def test_a_sweep_says_where_it_ended(run: Run, student: Path) -> None:
    shown = run("bench", student, "--sweep-batch", "--max-batch", 2, *QUICK)
    assert shown.exit_code == 0, shown.output
    assert f"The sweep of {student} ended at batch 2: it is the largest" in shown.stdout


def test_a_plan_measures_nothing(run: Run, run_json: RunJson, student: Path) -> None:
    words = ("bench", student, "--threads", "1,2", "--sweep-batch", "--max-batch", 4, "--dry-run")
    plan = run_json(*words, "--seconds", 100)
    assert [(row["threads"], row["batch"]) for row in plan["rows"]] == [
        (1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4),
    ]  # fmt: skip
    assert plan["estimated_seconds"] >= 600
    shown = run(*words)
    assert "at most 6 rows" in shown.stdout.lower()
    assert "Nothing was measured." in shown.stdout
    assert run("bench", student.with_name("absent.onnx"), "--dry-run").exit_code == 1


def test_models_apart_have_speed_ups_that_are_not_paired(
    run: Run, teacher: Path, student: Path
) -> None:
    shown = run("bench", teacher, student, "--no-interleave", *QUICK)
    assert shown.exit_code == 0, shown.output
    assert "] +" in shown.stdout.splitlines()[3]
    assert "+ not paired" in shown.stdout


def test_a_row_that_fails_is_said_and_is_the_exit_code(
    run: Run, student: Path, tmp_path: Path
) -> None:
    damaged, out = tmp_path / "damaged.onnx", tmp_path / "bench.json"
    damaged.write_bytes(b"no model")
    shown = run("bench", damaged, student, "--out", out, *QUICK)
    assert shown.exit_code == 1
    assert f"Failed: {damaged} is not a model" in shown.stdout
    assert f"error: 1 of 2 rows failed: {damaged}: is not a model" in shown.stderr
    lost, well = json.loads(out.read_text(encoding="utf-8"))["models"]
    assert (lost["latency_ms"], lost["failure_kind"]) == (None, "ArtifactError")
    assert well["latency_ms"]["p50"] > 0
    assert list(tmp_path.glob("bench.json.*")) == []


def test_an_unstable_row_is_an_error_where_that_is_asked_for(
    run: Run, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporters.remote import measure

    unchanged = measure.bench_rows

    def shaken(*given: Any) -> Any:
        found = unchanged(*given)
        found.rows[0]["latency_ms"]["unstable"] = True
        return found

    monkeypatch.setattr(measure, "bench_rows", shaken)
    assert run("bench", student, *QUICK).exit_code == 0
    strict = run("bench", student, "--strict", *QUICK)
    assert strict.exit_code == 1
    assert f"the machine changed while it measured {student} (--strict)" in strict.stderr


def test_what_is_inside_the_clock_is_stated(run: Run, run_json: RunJson, student: Path) -> None:
    clock = run_json("bench", student, *QUICK)["environment"]["clock"]
    assert "no decoding" in clock
    assert f"The clock holds {clock}." in run("bench", student, *QUICK).stdout


def test_cold_starts_are_timed_in_processes_of_their_own(run: Run, student: Path) -> None:
    shown = run("bench", student, "--cold", 1, *QUICK)
    assert shown.exit_code == 0, shown.output
    assert "cold start s" in shown.stdout
    assert "the file cache was warm" in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume",), "give --out as before"),
        (("--resume", "--out", "x.json", "--host", "user@board"), "leave it out with --host"),
        (("--sweep-batch", "--batch", "2"), "give one of the two"),
        (("--threads", "1,0"), "not a number of 1 or more"),
        (("--batch", "2,2"), "names a number twice"),
        (("--memory-limit", "1"), "--memory-limit"),
    ],
)
def test_options_that_make_no_sense_together_are_wrong_usage(
    run: Run, student: Path, words: tuple[str, ...], said: str
) -> None:
    found = run("bench", student, *words)
    assert found.exit_code == 2
    assert said in found.stderr


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pixels of another size than the model's."""
    path = tmp_path / "photos.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), dtype=np.uint8))
    return path


def test_images_of_ones_own_are_timed_and_named(
    run: Run, run_json: RunJson, student: Path, photos: Path
) -> None:
    found = run_json("bench", student, "--input", photos, "--batch", 4, *QUICK)
    assert found["environment"]["input"].startswith("photos.npz (sha256 ")
    assert found["models"][0]["latency_ms"]["p50"] > 0
    shown = run("bench", student, "--input", photos, *QUICK)
    assert f"The input was images of {found['environment']['input']}." in shown.stdout


def test_images_of_ones_own_stay_here(run: Run, student: Path, photos: Path) -> None:
    found = run("bench", student, "--input", photos, "--host", "user@board")
    assert found.exit_code == 2
    assert "stays here and --host measures there" in found.stderr


def test_other_images_are_not_taken_for_the_same(
    run: Run, run_json: RunJson, student: Path, photos: Path, tmp_path: Path
) -> None:
    base, new = tmp_path / "base.json", tmp_path / "new.json"
    run_json("bench", student, "--input", photos, "--out", base, *QUICK)
    run_json("bench", student, "--out", new, *QUICK)
    found = run("compare", base, new)
    assert found.exit_code == 2
    assert "input: photos.npz" in found.stderr
