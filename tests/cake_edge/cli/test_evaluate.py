from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cake_edge.cli import main
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard, attach_card

SPEC = ImageSpec(channels=1, height=4, width=4, mean=(0.0,), std=(1.0,), classes=4)
CARD = ModelCard(architecture="tiny", spec=SPEC, role="student", parent="0" * 64, parameters=68)


def write_model(path: Path, weight: Any, card: ModelCard | None = CARD) -> Path:
    """An ONNX file whose logits are the pixels times `weight` [16, classes]."""
    matrix = np.asarray(weight, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if card is not None:
        attach_card(model, card)
    onnx.save(model, path)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A model whose class is the brightest of the first four pixels."""
    return write_model(tmp_path / "good.onnx", np.eye(16)[:, :4])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve images, three of each class by the model above, one with a wrong label."""
    labels = np.arange(12) % 4
    images = np.zeros((12, 4, 4), dtype=np.uint8)
    images[np.arange(12), 0, labels] = 255
    labels[0] = 3
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return tmp_path / "data.npz"


def run(*words: Any) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def test_json_is_one_object_a_model(good: Path, data: Path) -> None:
    result = run(good, "--data", data, "--json", "--batch", 5)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["top1"] == pytest.approx(100 * 11 / 12)
    assert found["top5"] == 100.0
    assert found["interval95"][0] < found["top1"] < found["interval95"][1]
    assert found["agreement"] is None
    assert {k: found[k] for k in ("n", "path", "bytes", "role", "precision", "target")} == {
        "n": 12,
        "path": str(good),
        "bytes": good.stat().st_size,
        "role": "student",
        "precision": "fp32",
        "target": "any",
    }
    assert found["parameters"] == 68
    assert found["data"] == str(data)


def test_against_reports_agreement_and_the_other_model_too(
    tmp_path: Path, good: Path, data: Path
) -> None:
    weight = np.eye(16)[:, :4]
    weight[2] = weight[3]
    other = write_model(tmp_path / "other.onnx", weight)
    result = run(other, "--against", good, "--data", data, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["agreement"] == 75.0
    assert found["against"]["path"] == str(good)
    assert found["against"]["agreement"] == 100.0
    assert found["against"]["top1"] > found["top1"]


def test_a_file_for_another_machine_is_computed_as_written_and_the_result_says_so(
    tmp_path: Path, good: Path, data: Path
) -> None:
    card = replace(CARD, precision="int8", target="tensorrt")
    other = write_model(tmp_path / "trt.onnx", np.eye(16)[:, :4], card)
    found = json.loads(run(other, "--against", good, "--data", data, "--json").stdout)
    assert found["emulated"] is True
    assert found["why_emulated"] == "made for tensorrt, which does not run on this machine"
    assert (found["against"]["emulated"], found["against"]["why_emulated"]) == (False, None)
    assert found["agreement"] == 100.0
    shown = run(other, "--against", good, "--data", data).stdout.splitlines()
    assert shown[-1] == (
        f"Note: {other} was made for tensorrt, which does not run on this machine: computed in "
        "float, its values rounded."
    )


def test_a_model_agrees_with_itself(good: Path, data: Path) -> None:
    found = json.loads(run(good, "--against", good, "--data", data, "--json").stdout)
    assert found["agreement"] == 100.0


FEW = np.eye(16)[:, [1, 3]]
SELECTED = replace(CARD, spec=replace(SPEC, classes=2, source_classes=(1, 3)))


def test_a_model_of_some_classes_is_measured_and_compared_in_these(
    tmp_path: Path, good: Path, data: Path
) -> None:
    few = write_model(tmp_path / "few.onnx", FEW, SELECTED)
    alone = json.loads(run(few, "--data", data, "--json").stdout)
    # Of the labels 1 and 3 there are seven images, one of which shows class 0.
    assert (alone["n"], alone["top1"]) == (7, pytest.approx(100 * 6 / 7))
    found = json.loads(run(few, "--against", good, "--data", data, "--json").stdout)
    assert (found["n"], found["agreement"]) == (7, 100.0)
    assert found["against"]["top1"] == found["top1"]
    turned = json.loads(run(good, "--against", few, "--data", data, "--json").stdout)
    assert (turned["n"], turned["agreement"]) == (7, 100.0)


def test_the_class_that_stands_for_the_rest_is_compared_with_all_of_them(
    tmp_path: Path, good: Path, data: Path
) -> None:
    spec = replace(SPEC, classes=2, source_classes=(3, -1))
    # As bright as the rest together: log(3 exp(0)) where nothing is seen, log(2 + e) else.
    weight = np.stack([np.eye(16)[3], np.eye(16)[:3].sum(0)], 1)
    few = write_model(tmp_path / "few.onnx", weight, replace(CARD, spec=spec))
    found = json.loads(run(few, "--against", good, "--data", data, "--json").stdout)
    assert found["n"] == 12
    # exp(1) < 3: the whole sees the rest in every image, the selection class 3 in three.
    assert found["agreement"] == 75.0


@pytest.mark.parametrize(
    ("weight", "given", "said"),
    [
        (np.eye(16)[:, :2], {"classes": 2}, "tells 4 classes apart and .* 2 classes"),
        (FEW, {"classes": 2, "source_classes": (3, 9)}, "the classes 3, 9 of a selection"),
    ],
)
def test_models_of_other_classes_are_not_compared(
    tmp_path: Path, good: Path, data: Path, weight: Any, given: dict[str, Any], said: str
) -> None:
    card = replace(CARD, spec=replace(SPEC, **given))
    few = write_model(tmp_path / "few.onnx", weight, card)
    result = run(few, "--against", good, "--data", data)
    assert result.exit_code == 2
    assert re.search(said, " ".join(result.stderr.split()))


def test_two_selections_are_compared_where_they_are_the_same(tmp_path: Path, data: Path) -> None:
    one = write_model(tmp_path / "one.onnx", FEW, SELECTED)
    same = write_model(tmp_path / "same.onnx", FEW, SELECTED)
    turned = replace(SELECTED, spec=replace(SELECTED.spec, source_classes=(3, 1)))
    other = write_model(tmp_path / "other.onnx", FEW[:, ::-1], turned)
    found = json.loads(run(one, "--against", same, "--data", data, "--json").stdout)
    assert found["agreement"] == 100.0
    assert run(one, "--against", other, "--data", data).exit_code == 2


def test_of_several_labels_an_image_each_is_compared(
    tmp_path: Path, good: Path, data: Path
) -> None:
    card = replace(CARD, spec=replace(SPEC, head="sigmoid"))
    weight = np.eye(16)[:, :4]
    one = write_model(tmp_path / "one.onnx", weight, card)
    none = write_model(tmp_path / "none.onnx", -weight, card)
    found = json.loads(run(none, "--against", one, "--data", data, "--json").stdout)
    assert (found["agreement"], found["overlap"]) == (75.0, 0.0)
    assert found["against"]["overlap"] == 100.0
    assert "overlap" not in json.loads(run(good, "--data", data, "--json").stdout)
    assert run(one, "--against", good, "--data", data).exit_code == 2


def test_a_person_gets_a_table_on_stdout(good: Path, data: Path) -> None:
    result = run(good, "--data", data, "--limit", 4, "--threads", 1)
    assert result.exit_code == 0, result.stderr
    header, _, row = result.stdout.strip().splitlines()
    assert header.startswith("model")
    assert "top-1 %" in header
    assert "75.00" in row
    assert row.endswith("4")


def test_an_image_folder_will_do(tmp_path: Path, good: Path) -> None:
    for label in range(2):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        picture = Image.new("RGB", (4, 4))
        picture.putpixel((label, 0), (255, 255, 255))
        picture.save(tmp_path / "photos" / str(label) / "x.png")
    found = json.loads(run(good, "--data", tmp_path / "photos", "--json").stdout)
    assert (found["top1"], found["n"]) == (100.0, 2)


def test_a_file_of_others_is_refused(tmp_path: Path, data: Path) -> None:
    result = run(write_model(tmp_path / "x.onnx", np.eye(16)[:, :4], None), "--data", data)
    assert result.exit_code == 1
    assert "no cake_edge metadata" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "given", [{"mean": (0.5,)}, {"crop": 0.9}, {"interpolation": "nearest"}, {"labels": None}]
)
def test_models_that_take_other_images_are_not_compared(
    tmp_path: Path, good: Path, data: Path, given: dict[str, Any]
) -> None:
    card = replace(CARD, spec=replace(SPEC, **given))
    other = write_model(tmp_path / "other.onnx", np.eye(16)[:, :4], card)
    result = run(good, "--against", other, "--data", data)
    if given == {"labels": None}:
        assert result.exit_code == 0, result.stderr
    else:
        assert result.exit_code == 2
        assert next(iter(given)) in result.stderr


def test_a_model_that_answers_nan_is_an_error(tmp_path: Path, data: Path) -> None:
    model = write_model(tmp_path / "nan.onnx", np.full((16, 4), np.nan))
    result = run(model, "--data", data, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["kind"] == "NumericsError"
    assert "nan.onnx answers image 0 with NaN" in found["error"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{good}", "--data", "{tmp}/nowhere"], 1, "does not exist"),
        (["{tmp}/nowhere.onnx", "--data", "{data}"], 1, "nowhere.onnx"),
        (["{good}"], 2, "--data"),
        (["{good}", "--data", "{data}", "--limit", "0"], 2, "--limit"),
        (["{data}", "--data", "{data}"], 1, "data.npz"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    tmp_path: Path, good: Path, data: Path, words: list[str], code: int, said: str
) -> None:
    result = run(*(word.format(good=good, data=data, tmp=tmp_path) for word in words))
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_more_labels_than_classes_are_refused(tmp_path: Path, good: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), dtype=np.uint8), labels=[0, 9])
    result = run(good, "--data", tmp_path / "x.npz")
    assert result.exit_code == 1
    assert "labels from 0 to 9, but the model tells 4 classes apart" in result.stderr
