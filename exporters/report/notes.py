"""What a reader must know before believing the figures: missing, shaky and bad ones by name."""

from __future__ import annotations

from collections.abc import Iterable

from exporters.report import words
from exporters.report.schema import Model, Report
from exporters.report.story import LARGE_DROP, model_name

__all__ = ["notes"]

INT8_DROP = 0.5
"""Points of top-1 lost by quantization that are worth saying."""


def notes(report: Report) -> list[str]:
    """Returns sentences, the gravest first; empty where there is nothing to add."""
    models = report["models"]
    found = [
        *_missing(models),
        *_foreign(models),
        *_accuracy(models),
        *_int8(models),
        *_steadiness(models),
        *report["environment"].get("warnings", []),
        *_stages(report),
    ]
    return [f"{text[:1].upper()}{text[1:]}." if text[-1:] != "." else text for text in found]


def _missing(models: list[Model]) -> list[str]:
    said = []
    blind = [model for model in models if model["top1"] is None]
    if blind:
        who = "Accuracy" if len(blind) == len(models) else f"Accuracy of {_names(blind)}"
        said.append(f"{who}: not measured: no evaluation data was given")
    untimed = [m for m in models if m["latency_ms"] is None and not m.get("why_not_timed")]
    if untimed:
        who = "Latency" if len(untimed) == len(models) else f"Latency of {_names(untimed)}"
        said.append(f"{who}: not measured: the benchmark was not run")
    return said


def _foreign(models: list[Model]) -> list[str]:
    """Of files whose target does not run on the machine that measured."""
    found = [model for model in models if model.get("why_not_timed")]
    if not found:
        return []
    measured = any(model.get("emulated") and model["top1"] is not None for model in found)
    more = ", and accuracy was computed in float with values rounded" if measured else ""
    who = f"{_names(found)}: made for what does not run on this machine"
    return [f"{who}; latency was not measured{more}"]


def _accuracy(models: list[Model]) -> list[str]:
    teacher = next((m["top1"] for m in models if m["role"] == "teacher"), None)
    if teacher is None:
        return []
    drops = {
        model_name(model): teacher - model["top1"]
        for model in models
        if model["role"] == "student" and model["top1"] is not None
    }
    far = {name: drop for name, drop in drops.items() if drop > LARGE_DROP}
    if not far:
        return []
    low, high = (f"{end(far.values()):.1f}" for end in (min, max))
    by = low if low == high else f"{low} to {high}"
    all_of_many = len(far) == len(drops) > 1
    who = f"All {len(far)} students" if all_of_many else ", ".join(far)
    mend = "a larger budget (more images, more steps) or a larger student is needed to replace it"
    return [f"{who} {'is' if len(far) == 1 else 'are'} {by} points below the teacher: {mend}"]


def _int8(models: list[Model]) -> list[str]:
    said = []
    for model in models:
        full = next(
            (m for m in models if m["role"] == model["role"] and m["precision"] == "fp32"), None
        )
        if model["precision"] != "int8" or full is None:
            continue
        if model["latency_ms"] and full["latency_ms"]:
            before, after = full["latency_ms"]["p50"], model["latency_ms"]["p50"]
            if after > before:
                said.append(
                    f"{model_name(model)} is slower than {model_name(full)} here "
                    f"({words.milliseconds(after)} against {words.milliseconds(before)})"
                )
        if model["top1"] is not None and full["top1"] is not None:
            drop = full["top1"] - model["top1"]
            if drop > INT8_DROP:
                said.append(f"{model_name(model)} is {drop:.1f} points below {model_name(full)}")
    return said


def _steadiness(models: list[Model]) -> list[str]:
    said, shaky = [], []
    for model in models:
        latency = model["latency_ms"]
        if latency is None:
            continue
        if latency.get("unstable"):
            spread = latency.get("spread")
            why = (
                "there are too few calls to tell"
                if spread is None
                else f"its median moved by {100 * spread:.0f} % during the measurement"
            )
            said.append(f"Latency of {model_name(model)} is unstable: {why}")
        if not latency.get("p99_reliable", True):
            shaky.append(model)
    if shaky:
        said.append(
            f"* p99 of {_names(shaky)} rests on fewer than ten slow calls: "
            "read it as an example, not as a bound"
        )
    return said


def _stages(report: Report) -> list[str]:
    found = [stage["name"] for stage in report["stages"] if stage["skipped"]]
    if not found:
        return []
    return [f"Found from an earlier run and not done again: {', '.join(found)}"]


def _names(models: Iterable[Model]) -> str:
    return ", ".join(model_name(model) for model in models)
