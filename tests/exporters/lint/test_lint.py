"""Lint says of any model what a target makes of it, the worst first, and never falls."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from cake_edge.cli import main
from cake_edge.errors import ArtifactError, UsageMistake
from exporters.artifact import ModelCard, attach_card
from exporters.lint import RULES, SEVERITIES, lint
from exporters.quantize import TARGETS, QuantizeConfig, quantize

CORPUS = Path(onnx.__file__).parent / "backend" / "test" / "data"


def sample(parts: Any) -> onnx.ModelProto:
    """A convolution with every fault that TensorRT refuses, and a float operator."""
    source = parts.quantized("x", "act", kind=np.uint8, zero=7)
    stored = parts.weight((8, 3, 3, 3), "w", axis=None)
    result = parts.conv(source, stored, parts.bias("b", integer=True))
    return parts.model(parts.conv(result, parts.weight((8, 8, 3, 3), "v"), name="plain"))


def test_the_worst_comes_first(parts: Any) -> None:
    found = [(each.severity, each.rule) for each in lint(sample(parts), "tensorrt")]
    assert found == [
        ("rejected", "int32-bias"),
        ("rejected", "zero-point"),
        ("rejected", "uint8"),
        ("float", "float-operator"),
        ("note", "weight-per-tensor"),
    ]


def test_a_finding_names_the_first_nodes_and_counts_all(parts: Any) -> None:
    result = "x"
    for index in range(9):
        result = parts.quantized(result, f"q{index}", kind=np.uint8)
    (finding,) = lint(parts.model(result), "tensorrt")
    assert finding.count == 18
    assert finding.nodes == ("q0.q", "q0.dq", "q1.q", "q1.dq", "q2.q")
    assert finding.to_dict()["nodes"] == list(finding.nodes)


def test_the_remedy_is_a_command_for_this_file_and_target(
    parts: Any, saved: Callable[[onnx.ModelProto], Path]
) -> None:
    path = saved(sample(parts))
    remedies = {each.rule: each.remedy for each in lint(path, "tensorrt")}
    command = f"cake-edge retarget {path} --target tensorrt --out OUT.onnx"
    assert remedies["zero-point"] == command
    assert "retarget MODEL.onnx" in lint(onnx.load(path), "tensorrt")[0].remedy
    spaced = path.with_name("a model.onnx")
    path.rename(spaced)
    assert f"'{spaced}'" in lint(spaced, "tensorrt")[0].remedy


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("ort-x86", "tensorrt"), ("tensorrt", "ort-x86"), ("ort-arm", "tensorrt-fp16")],
)
def test_the_remedy_mends(
    float_file: Path, images: Any, tmp_path: Path, written: str, wanted: str
) -> None:
    path, mended = tmp_path / "written.onnx", tmp_path / "mended.onnx"
    quantize(float_file, path, images, target=written, config=QuantizeConfig(latency_seconds=0))
    before = {each.severity for each in lint(path, wanted)}
    assert before & {"rejected", "float", "slow"}
    (command,) = {
        each.remedy for each in lint(path, wanted) if each.remedy.startswith("cake-edge retarget")
    } - {each.remedy for each in lint(path, wanted) if each.rule == "other-target"}
    words = command.replace("OUT.onnx", str(mended)).split()[1:]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert {each.severity for each in lint(mended, wanted)} <= {"note"}


@pytest.mark.parametrize("target", [name for name in TARGETS if not name.startswith("ort-w")])
def test_a_file_has_nothing_said_of_it_for_its_own_target(
    float_file: Path, images: Any, tmp_path: Path, target: str
) -> None:
    path = tmp_path / "written.onnx"
    quantize(float_file, path, images, target=target, config=QuantizeConfig(latency_seconds=0))
    assert lint(path, target) == ()


@pytest.mark.parametrize("target", TARGETS)
def test_a_float_model_gets_one_note(parts: Any, target: str) -> None:
    weight = parts.constant("w", parts.random.standard_normal((8, 3, 3, 3)))
    found = lint(parts.model(parts.conv("x", weight)), target)
    assert [each.severity for each in found if each.rule == "not-quantized"] == ["note"]
    assert "rejected" not in {each.severity for each in found}


def test_a_file_for_another_target_is_noted(parts: Any, card: ModelCard) -> None:
    import dataclasses

    model = sample(parts)
    attach_card(model, dataclasses.replace(card, precision="int8", target="ort-x86"))
    notes = {each.rule: each.nodes for each in lint(model, "ort-arm")}
    assert notes["other-target"] == ("made for ort-x86",)
    assert "other-target" not in {each.rule for each in lint(model, "ort-x86")}
    model.metadata_props[0].value = "{"
    assert (
        "is damaged"
        in {each.rule: each.nodes for each in lint(model, "ort-x86")}["other-target"][0]
    )


def test_an_unknown_target_is_a_mistake(parts: Any) -> None:
    with pytest.raises(UsageMistake, match=r"no target 'tensort' \(did you mean tensorrt"):
        lint(sample(parts), "tensort")


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        lint(path, "tensorrt")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.targets[0]}")
def test_every_rule_is_worded(rule: Any) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.severity in SEVERITIES
    assert not rule.reason.endswith(".")
    assert len(rule.reason) > 40
    assert rule.remedy.format(model="m.onnx", target="t")
    assert any(rule.holds_for(target) for target in TARGETS)


def test_a_rule_is_told_once_a_target() -> None:
    for target in TARGETS:
        names = [rule.name for rule in RULES if rule.holds_for(target)]
        assert len(names) == len(set(names))


def test_models_of_all_kinds_are_linted_without_a_fall() -> None:
    """ONNX's own examples: operators of every kind, ports of every rank and type."""
    paths = sorted(CORPUS.rglob("model.onnx"))
    if len(paths) < 50:
        pytest.skip("this onnx comes without its examples")
    for path in paths[::3]:
        model = onnx.load(path)
        for target in ("tensorrt", "tensorrt-fp16", "ort-x86"):
            for finding in lint(model, target):
                assert finding.nodes


def test_oddly_formed_models_are_linted_without_a_fall(parts: Any) -> None:
    """Names, optional inputs, constants and attributes taken away or moved at random."""
    choose = random.Random(0)
    whole = sample(parts)
    for _ in range(150):
        model = copy.deepcopy(whole)
        for _ in range(choose.randrange(1, 4)):
            disturb(model, choose)
        for target in ("tensorrt", "tensorrt-fp16", "ort-x86", "ort-x86-novnni", "ort-arm"):
            lint(model, target)


def disturb(model: onnx.ModelProto, choose: random.Random) -> None:
    graph = model.graph
    node = choose.choice(list(graph.node))
    kind = choose.randrange(8)
    if kind == 0:
        node.name = ""
    elif kind == 1 and len(node.input) > 2:
        node.input[2] = ""
    elif kind == 2:
        del node.attribute[:]
    elif kind == 3:
        weight = choose.choice(list(graph.initializer))
        graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, None))
        graph.initializer.remove(weight)
    elif kind == 4:
        weight = choose.choice(list(graph.initializer))
        graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=weight))
        graph.initializer.remove(weight)
    elif kind == 5:
        node.domain = "com.microsoft"
    elif kind == 6:
        graph.output[0].name = choose.choice(list(node.output))
    else:
        choose.choice(list(graph.initializer)).raw_data = b"\x00"
