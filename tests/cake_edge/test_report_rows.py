"""What a report says of INT8, from what the stages quantize and bench recorded."""

from pathlib import Path

from cake_edge.report_rows import data_free, distill_section, int8_section
from exporters.quantize import QuantizeConfig

FOUND = {
    "target": "ort-x86",
    "speed": None,
    "verdict": "quantized",
    "advice": ["speed was not measured (latency_seconds=0)"],
    "coverage": {"int8": {"Conv": 3}, "float": {}, "left_float": [], "reasons": {}},
}
UNTIMED = QuantizeConfig(latency_seconds=0.0)


def ratio(estimate, low, high):
    return {"estimate": estimate, "low": low, "high": high, "rounds": 9}


def test_an_assistant_is_told_with_its_size():
    trained = {
        "architecture": "resnet10t", "parameters": 900, "steps": 5, "views": 20, "seconds": 1.0,
        "curve": [[5, 0.5]], "checks": [], "agreement_synthetic": 80.0, "agreement_families": {},
        "inherited": 0, "matching": None,
    }  # fmt: skip
    assistant = {**trained, "architecture": "resnet18", "agreement_synthetic": 90.0}
    alone, both = distill_section(trained, None), distill_section(trained, assistant)
    assert both.pop("assistant") == {
        **alone, "student": "resnet18", "parameters": 900, "agreement_synthetic": 90.0,
    }  # fmt: skip
    assert both == alone
    assert (alone["student"], alone["loss"]) == ("resnet10t", [[5, 0.5]])
    assert "matching" not in alone
    assert distill_section({**trained, "matching": {}}, None)["matching"] == {}


def test_a_file_that_was_not_timed_keeps_what_its_stage_said():
    assert int8_section(FOUND, UNTIMED, None) == FOUND


def test_the_time_of_the_bench_decides_which_file_to_ship():
    said = int8_section(FOUND, UNTIMED, ratio(1.5, 1.4, 1.6))
    assert said["verdict"] == "quantized"
    assert said["speed"] == {"estimate": 1.5, "low": 1.4, "high": 1.6}
    assert said["over_student_fp32"]["rounds"] == 9
    assert not any("not measured" in line for line in said["advice"])

    slower = int8_section(FOUND, UNTIMED, ratio(0.8, 0.7, 0.9))
    assert slower["verdict"] == "float"
    assert slower["advice"][0].startswith("slower than the float model here (0.80 times")
    assert FOUND["verdict"] == "quantized"


def test_a_ratio_that_may_be_either_way_speaks_for_nobody():
    assert int8_section(FOUND, UNTIMED, ratio(0.97, 0.9, 1.02))["verdict"] == "quantized"


def test_images_of_the_user_s_own_are_named_among_what_was_read():
    own = {"path": "photos", "count": 30, "sha256": "0" * 64}
    first = {"stage": "synthesize", "what": "photos", "images": 30}
    alone = data_free({}, None, own)
    assert alone["reads"] == [first]
    assert "30 unlabeled images of the user's own (photos)" in alone["statement"]
    both = data_free({"student": {"n": 500}}, Path("real.npz"), own)
    assert both["reads"] == [first, {"stage": "evaluate", "what": "real.npz", "images": 500}]
    assert "evaluate alone" in both["statement"]


def test_without_any_there_is_nothing_to_name():
    assert data_free({}, None)["reads"] == []
    assert len(data_free({"student": {"n": 500}}, Path("real.npz"))["reads"]) == 1
