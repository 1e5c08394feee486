from __future__ import annotations

from typing import Any

import pytest

from cake_edge.errors import ArtifactError
from exporters.report import words
from exporters.report.schema import validate
from exporters.report.summaries import (
    cost_facts,
    distill_facts,
    pool_facts,
    stage_table,
)


def test_the_pool_in_numbers(report: Any) -> None:
    assert pool_facts(report) == [
        ("Synthetic images", "6,000"),
        ("Of these optimised", "1,800"),
        ("Seen as their target class", "96.2 %"),
        ("Classes covered", "10 of 10"),
        ("Class balance", "99.1 % of an even one's entropy"),
        ("Teacher's mean confidence", "87.4 %"),
    ]


@pytest.mark.parametrize(
    ("layers", "said"),
    [(20, "matched in 20 layers"), (0, "none: the teacher remembers none"), (None, None)],
)
def test_statistics_that_were_to_be_matched_are_said_to_be_there_or_absent(report, layers, said):
    report["pool"]["statistics_layers"] = layers
    assert dict(pool_facts(report)).get("BatchNorm statistics") == said


def test_the_training_in_numbers(report: Any) -> None:
    found = dict(distill_facts(report))
    assert found["Images seen, each view counted"] == "1,536,000"
    assert found["Loss"] == f"1.98 {words.ARROW} 0.0804"
    assert found["Agreement on held-out synthetic images"] == "91.2 %"


def test_what_ended_the_training_is_said(report: Any) -> None:
    report["distill"]["checks"] = [[100, 61.0], [200, 61.25]]
    said = dict(distill_facts(report))
    assert said["Agreement that decided the length"] == "61.2 % at the last of 2 looks"
    report["distill"]["checks"] = []
    assert "Agreement that decided the length" not in dict(distill_facts(report))


def test_how_near_the_views_are_to_what_batch_norms_remember_is_said(report: Any) -> None:
    name = "Distance from the teacher's BatchNorm statistics"
    assert name not in dict(distill_facts(report))
    report["distill"]["matching"] = {
        "distance_even": 8.3028, "distance_matched": 1.5704, "effective": 0.3534,
    }  # fmt: skip
    validate(report)
    assert dict(distill_facts(report))[name] == (
        f"8.3 {words.ARROW} 1.57 (0: the same), "
        "drawn as unevenly as if 35.3 % of the images were shown"
    )
    report["distill"]["matching"] = {}
    assert dict(distill_facts(report))[name].startswith("none: the teacher remembers no statistics")
    report["distill"]["matching"] = {"effective": 35.3}
    with pytest.raises(ArtifactError, match=r"distill\.matching\.effective is 35\.3"):
        validate(report)


def test_an_assistant_stands_beside_its_student(report: Any) -> None:
    before = distill_facts(report)
    report["distill"]["assistant"] = {
        "student": "resnet18", "parameters": 11_200_000, "steps": 400, "agreement_synthetic": 95.5,
    }  # fmt: skip
    validate(report)
    assert distill_facts(report) == [
        *before,
        ("Learned from the assistant", "resnet18, 11,200,000 weights"),
        ("The assistant's steps", "400"),
        ("The assistant's agreement, same images", "95.5 %"),
    ]
    report["distill"]["assistant"]["steps"] = "many"
    with pytest.raises(ArtifactError, match=r"distill\.assistant\.steps is 'many'"):
        validate(report)


def test_parts_that_are_not_there_say_nothing(report: Any) -> None:
    for name in ("pool", "distill"):
        del report[name]
    report["stages"] = []
    for tell in (pool_facts, distill_facts, cost_facts):
        assert tell(report) == []


def test_a_run_costs_what_it_did_itself(report: Any) -> None:
    assert cost_facts(report) == [
        ("This run", "4 min 50 s"),
        ("With what was found", "4 min 55 s"),
        ("Peak memory", "1.13 GB"),
    ]


def test_stages_as_a_table(report: Any) -> None:
    rows = stage_table(report).rows
    assert rows[4] == ("quantize", "4.4 s", "702 MB", "found from an earlier run")
    assert rows[5] == ("evaluate", "3.0 s", "not measured", "done")
