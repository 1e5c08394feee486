from __future__ import annotations

import dataclasses
import json

import onnx
import pytest

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.artifact import METADATA_KEY, ModelCard, attach_card, card_from_metadata


def test_a_card_survives_json(card):
    assert ModelCard.from_json(card.to_json()) == card


def test_the_json_holds_what_other_tools_rely_on(card):
    values = json.loads(card.to_json())
    assert values["architecture"] == "resnet10t"
    assert values["input_size"] == [1, 20, 20]
    assert values["mean"] == [0.5]
    assert values["std"] == [0.25]
    assert values["classes"] == 4
    assert values["precision"] == "fp32"
    assert values["target"] == "any"
    assert values["parent"] == "ab" * 32


def test_keys_of_a_later_version_are_left_alone(card):
    assert ModelCard.from_json(json.dumps({**json.loads(card.to_json()), "later": 1})) == card


@pytest.mark.parametrize("damage", ["[1]", "{", "{}", "null"])
def test_a_damaged_card_is_an_artifact_error(damage):
    with pytest.raises(ArtifactError, match="damaged"):
        ModelCard.from_json(damage)


@pytest.mark.parametrize(
    ("name", "value"), [("std", [0.0]), ("classes", 0), ("precision", "int3"), ("parent", "x")]
)
def test_a_card_with_an_impossible_value_is_an_artifact_error(card, name, value):
    with pytest.raises(ArtifactError, match="damaged"):
        ModelCard.from_json(json.dumps({**json.loads(card.to_json()), name: value}))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_what_weights_can_be_survives_json(card, precision):
    changed = dataclasses.replace(card, precision=precision)
    assert ModelCard.from_json(changed.to_json()).precision == precision


def test_an_unknown_role_is_refused_with_the_allowed_ones(spec):
    with pytest.raises(UsageMistake, match="teacher, student"):
        ModelCard(architecture="a", spec=spec, role="pupil", parent="0" * 64)


def test_a_file_of_someone_else_has_no_card():
    assert card_from_metadata({"author": "x"}) is None


def test_an_attached_card_replaces_all_metadata(card):
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {"author": "x", METADATA_KEY: "old"})
    attach_card(model, card)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert list(found) == [METADATA_KEY]
    assert card_from_metadata(found) == card
