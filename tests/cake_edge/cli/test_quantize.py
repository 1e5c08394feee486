"""`cake-edge quantize` finds its ranges on a pool, or on images that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from exporters.quantize import TARGETS
from exporters.runtimes import open_session

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(
    teacher_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run_json: Callable[..., dict[str, Any]],
) -> Path:
    out = tmp_path_factory.mktemp("model") / "student.fp32.onnx"
    run_json("export", teacher_file, "--out", out)
    return out


UNTIMED = ("--set", "latency_seconds=0")


def test_ranges_come_from_a_pool(run: Run, model: Path, pool_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "student.int8.onnx"
    result = run("quantize", model, "--pool", pool_folder, "--keep-slower", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: INT8 for ort-x86, ")
    assert "on 6 synthetic images kept apart" in result.stdout
    assert "Ranges from: 18 synthetic images" in result.stdout
    assert "Weighted operators in INT8: 16 of 16" in result.stdout
    assert "that of FP32, with its 95 % interval" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Ship ")
    assert out.stat().st_size < model.stat().st_size
    with open_session(out) as session:
        assert session.card is not None
        assert (session.card.precision, session.card.target) == ("int8", "ort-x86")


@pytest.mark.parametrize("pushed", [False, True])
def test_without_a_pool_images_are_made_by_seed(
    run_json: Callable[..., dict[str, Any]],
    model: Path,
    teacher_file: Path,
    tmp_path: Path,
    pushed: bool,
) -> None:
    teacher = ("--teacher", teacher_file, "--device", "cpu") if pushed else ()
    words = ("quantize", model, *teacher, "--set", "images=40", *UNTIMED)
    first = run_json(*words, "--out", tmp_path / "a.onnx")
    assert (first["precision"], first["target"], first["role"]) == ("int8", "ort-x86", "student")
    assert first["calibration_images"] + first["checked_images"] == 40
    again = run_json(*words, "--out", tmp_path / "b.onnx")
    assert again["sha256"] == first["sha256"]
    other = run_json(*words, "--seed", 1, "--out", tmp_path / "c.onnx")
    assert other["sha256"] != first["sha256"]


def test_json_has_all_that_the_text_says_and_more(
    run_json: Callable[..., dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.onnx"
    found = run_json("quantize", model, "--set", "images=24", "--keep-slower", "--out", out)
    assert found["float"] == {"path": str(model), "bytes": model.stat().st_size}
    assert found["speed"].keys() == {"estimate", "low", "high"}
    assert found["verdict"] == ("float" if found["speed"]["high"] < 1 else "quantized")
    assert found["coverage"]["profiled"] is True
    assert found["coverage"]["reasons"].keys() == set(found["coverage"]["left_float"])
    assert {"advice", "steps", "left_float", "sensitivity", "divergence", "sha256"} <= set(found)


def test_a_target_that_does_not_run_here_is_measured_in_float_and_not_timed(
    run: Run, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.onnx"
    words = ("--target", "tensorrt", "--set", "images=24", "--out", out)
    result = run("quantize", model, *words)
    assert result.exit_code == 0, result.output
    assert "Speed: not measured: the target does not run on this machine" in result.stdout
    assert "as the file asks of its target" in result.stdout
    assert result.stdout.splitlines()[-1] == f"Ship {out}, once timed on its target"


def test_a_slower_file_is_refused_unless_it_is_asked_for(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporters.quantize import gate
    from exporters.quantize.config import Speed

    # Which of two tiny networks is faster is chance; what follows from it is not.
    slow = Speed(estimate=0.5, low=0.4, high=0.6)
    monkeypatch.setattr(gate, "paired_speed", lambda *_: slow)
    out = tmp_path / "a.onnx"
    words = ("quantize", model, "--set", "images=24", "--out", out)
    refused = run(*words)
    assert refused.exit_code == 1
    assert "0.50 times the float model's speed" in refused.stderr
    assert not out.exists()
    kept = run(*words, "--keep-slower")
    assert kept.exit_code == 0, kept.output
    assert kept.stdout.splitlines()[-1] == f"Ship {model}: this one is slower here"
    assert out.exists()


def test_noise_is_refused_until_it_is_asked_for_by_name(
    run: Run, model: Path, tmp_path: Path
) -> None:
    words = ("quantize", model, "--set", "images=24", *UNTIMED)
    refused = run(*words, "--prior", "gaussian", "--set", "allow_noise=false",
                  "--out", tmp_path / "a.onnx")  # fmt: skip
    assert refused.exit_code == 1
    assert "the images are pure noise" in refused.stderr
    asked = run(*words, "--prior", "gaussian", "--out", tmp_path / "b.onnx")
    assert asked.exit_code == 0, asked.output


def test_the_prior_is_the_one_that_was_named(
    run_json: Callable[..., dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    words = ("quantize", model, "--set", "images=24", *UNTIMED)
    found = {
        name: run_json(*words, *more, "--out", tmp_path / f"{name}.onnx")["sha256"]
        for name, more in {
            "default": (), "structured": ("--prior", "structured"), "leaves": ("--prior", "leaves"),
        }.items()
    }  # fmt: skip
    assert found["default"] == found["structured"] != found["leaves"]


def test_help_says_what_each_target_is(run: Run) -> None:
    shown = run("quantize", "--help").stdout
    section = shown.split("Targets:")[1].split("Examples:")[0]
    lines = [line.split(maxsplit=1) for line in section.splitlines() if line.strip()]
    assert [line[0] for line in lines] == list(TARGETS)
    assert all(len(line) == 2 for line in lines)
    assert all(len(line) <= 80 for line in section.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--target", "ort-x68"), 2, "ort-x86"),
        (("--set", "image=4"), 2, "--set image is unknown (did you mean images"),
        (("--pool", "nowhere"), 1, "nowhere is not a pool"),
        (("--pool", "nowhere", "--teacher", "embedded"), 2, "give one of the two"),
        (("--pool", "nowhere", "--prior", "leaves"), 2, "with --pool none are made"),
        (("--set", "max_agreement_drop=2"), 2, "max_agreement_drop is 2.0"),
        (("--max-agreement-drop", "120%"), 2, "'120%' is not a share"),
        (("--target-size", "2 parsecs"), 2, "'2 parsecs' is not a size"),
        (("--weight-bits", "3"), 2, "'3' is not one of"),
        (("--effort", "fast", "--set", "effort='full'"), 2, "give --effort or --set effort"),
        (("--keep-slower", "--set", "when_slower='refuse'"), 2,
         "give --keep-slower or --set when_slower"),
        (("--teacher", "timm:test_resnet", "--random-weights", "--preset", "zero-one",
          "--input-size", "3,32,32"), 2, "give images of the model's own input space"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, model: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    result = run("quantize", model, *words, "--out", tmp_path / "x.onnx")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "internal error" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    out.write_bytes(b"mine")
    result = run("quantize", "missing.onnx", "--out", out)
    assert result.exit_code == 1
    assert f"{out} is a file already" in result.stderr
