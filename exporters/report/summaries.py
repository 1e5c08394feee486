"""What the stages made, as names and values: the pool, the training, the cost."""

from __future__ import annotations

import math

from exporters.report import words
from exporters.report.schema import Distill, Report
from exporters.report.story import Table

__all__ = ["cost_facts", "distill_facts", "pool_facts", "stage_table"]

Rows = list[tuple[str, str]]


def pool_facts(report: Report) -> Rows:
    """The synthetic images in numbers; empty without a pool."""
    pool = report.get("pool", {})
    rows: Rows = []
    histogram = pool.get("class_histogram", [])
    if "images" in pool:
        rows.append(("Synthetic images", words.count(pool["images"])))
    if "pushed" in pool:
        rows.append(("Of these optimised", words.count(pool["pushed"])))
    hit_rate = pool.get("hit_rate")
    if hit_rate is not None:
        rows.append(("Seen as their target class", words.percent(100 * hit_rate)))
    if "classes_covered" in pool:
        of = f" of {words.count(len(histogram))}" if histogram else ""
        rows.append(("Classes covered", words.count(pool["classes_covered"]) + of))
    if "label_entropy" in pool:
        balance = words.percent(100 * pool["label_entropy"])
        rows.append(("Class balance", f"{balance} of an even one's entropy"))
    if "teacher_confidence" in pool:
        rows.append(("Teacher's mean confidence", words.percent(100 * pool["teacher_confidence"])))
    layers = pool.get("statistics_layers")
    if layers is not None:
        matched = f"matched in {words.count(layers)} layers"
        said = matched if layers else "none: the teacher remembers none"
        rows.append(("BatchNorm statistics", said))
    return rows


def distill_facts(report: Report) -> Rows:
    """The student's training in numbers; empty where there was none."""
    distill = report.get("distill")
    if distill is None:
        return []
    rows: Rows = []
    if "student" in distill:
        rows.append(("Student", distill["student"]))
    if "steps" in distill:
        rows.append(("Steps", words.count(distill["steps"])))
    if distill.get("checks"):
        looks, last = len(distill["checks"]), words.percent(distill["checks"][-1][1])
        rows.append(("Agreement that decided the length", f"{last} at the last of {looks} looks"))
    if "views" in distill:
        rows.append(("Images seen, each view counted", words.count(distill["views"])))
    if "matching" in distill:
        rows.append(("Distance from the teacher's BatchNorm statistics", _matched(distill)))
    if distill.get("loss"):
        curve = distill["loss"]
        rows.append(("Loss", f"{curve[0][1]:.3g} {words.ARROW} {curve[-1][1]:.3g}"))
    agreement = distill.get("agreement_synthetic")
    if agreement is not None:
        rows.append(("Agreement on held-out synthetic images", words.percent(agreement)))
    for family, value in distill.get("agreement_families", {}).items():
        rows.append((f"Agreement on a family never shown: {family}", words.percent(value)))
    if "assistant" in distill:
        rows += _assistant_facts(distill["assistant"])
    return rows


def _matched(distill: Distill) -> str:
    found = distill["matching"]
    if not found:
        return "none: the teacher remembers no statistics, or no weights bring images nearer"
    even, now = found["distance_even"], found["distance_matched"]
    effect = words.percent(100 * found["effective"])
    moved = f"{even:.3g} {words.ARROW} {now:.3g} (0: the same)"
    return f"{moved}, drawn as unevenly as if {effect} of the images were shown"


def _assistant_facts(assistant: Distill) -> Rows:
    """The network between teacher and student."""
    rows: Rows = []
    if "student" in assistant:
        size = assistant.get("parameters")
        weights = f", {words.count(size)} weights" if size is not None else ""
        rows.append(("Learned from the assistant", assistant["student"] + weights))
    if "steps" in assistant:
        rows.append(("The assistant's steps", words.count(assistant["steps"])))
    agreement = assistant.get("agreement_synthetic")
    if agreement is not None:
        rows.append(("The assistant's agreement, same images", words.percent(agreement)))
    return rows


def cost_facts(report: Report) -> Rows:
    """What all stages cost together; empty without a stage."""
    stages = report["stages"]
    if not stages:
        return []
    done = [stage["seconds"] for stage in stages if not stage["skipped"]]
    rows = [("This run", words.seconds(math.fsum(done)))]
    if len(done) < len(stages):
        everything = math.fsum(stage["seconds"] for stage in stages)
        rows.append(("With what was found", words.seconds(everything)))
    peaks = [stage["peak_memory_bytes"] for stage in stages]
    known = [peak for peak in peaks if peak is not None]
    if known:
        rows.append(("Peak memory", words.size(max(known))))
    return rows


def stage_table(report: Report) -> Table:
    """Time and memory, one row a stage."""
    rows = tuple(
        (
            stage["name"],
            words.seconds(stage["seconds"]),
            words.UNKNOWN
            if stage["peak_memory_bytes"] is None
            else words.size(stage["peak_memory_bytes"]),
            "found from an earlier run" if stage["skipped"] else "done",
        )
        for stage in report["stages"]
    )
    return Table(headers=("Stage", "Time", "Peak memory", "This run"), rows=rows)
