"""Objects of a run's report that are put together from what its stages recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.provenance import sha256_file
from exporters.quantize import TARGETS, QuantizeConfig
from exporters.quantize.config import Speed
from exporters.quantize.gate import advice
from exporters.runtimes import read_card, why_not_here

__all__ = ["data_free", "distill_section", "int8_section", "model_row"]


def model_row(
    folder: Path, file: Path, measured: Mapping[str, Any] | None, latency: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the `models` object of a report for one ONNX file.

    Args:
        folder: the run's; paths in a report are relative to it.
        measured: what the evaluation found of the file; None where there was none.
        latency: what the stage bench found of all files.
    """
    card = read_card(file)
    assert card is not None  # every file of a run was written with one
    measured = measured or {}
    foreign = why_not_here(card)
    return {
        "role": card.role,
        "precision": card.precision,
        "target": None if card.target == "any" else card.target,
        "path": file.relative_to(folder).as_posix(),
        "bytes": file.stat().st_size,
        "parameters": card.parameters,
        "top1": measured.get("top1"),
        "top5": measured.get("top5"),
        "interval95": measured.get("interval95"),
        "agreement": measured.get("agreement"),
        **({"overlap": measured["overlap"]} if "overlap" in measured else {}),
        "emulated": foreign is not None,
        "latency_ms": latency["latency"].get(file.name),
        "why_not_timed": foreign,
        "n": measured.get("n"),
        "sha256": sha256_file(file),
        "architecture": card.architecture,
        "speedup": latency["speedup"].get(file.name),
    }


def distill_section(
    trained: Mapping[str, Any], assistant: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the `distill` object of a report.

    Args:
        trained: what the stage that trained the student recorded.
        assistant: the same of the network that it learned from in the teacher's place; None where
            it learned from the teacher.
    """
    section = _training(trained)
    if assistant is not None:
        section["assistant"] = {**_training(assistant), "parameters": assistant["parameters"]}
    return section


def _training(trained: Mapping[str, Any]) -> dict[str, Any]:
    matching = trained["matching"]
    return {
        "student": trained["architecture"],
        "steps": trained["steps"],
        "views": trained["views"],
        "loss": trained["curve"],
        "checks": trained["checks"],
        "agreement_synthetic": trained["agreement_synthetic"],
        "agreement_families": trained["agreement_families"],
        "inherited": trained["inherited"],
        **({"matching": matching} if matching is not None else {}),
    }


def int8_section(
    found: Mapping[str, Any], config: QuantizeConfig, ratio: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the `quantize` object of a report for one target.

    Args:
        found: what the stage that quantized it recorded.
        ratio: speed over the student's float file, as the stage bench measured it, which then
            decides which file to ship; None where it was not timed.
    """
    if ratio is None:
        return dict(found)
    interval = {name: ratio[name] for name in ("estimate", "low", "high")}
    speed = Speed(**interval)
    # The stage may have left the timing to this one, and its advice said that nothing was timed.
    timed = dataclasses.replace(config, latency_seconds=1.0)
    said = advice(TARGETS[found["target"]], speed, found["coverage"], timed)
    return {
        **found,
        "speed": interval,
        "over_student_fp32": dict(ratio),
        "verdict": "float" if speed.slower else "quantized",
        "advice": list(said),
    }


def data_free(
    accuracy: Mapping[str, Any],
    data: Path | None,
    user_images: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the statement of what real data was read, and when.

    Args:
        accuracy: what the evaluation found, by model.
        data: what it read; None where there was none.
        user_images: what the pool's manifest declares of the user's own images.
    """
    if user_images is not None:
        return _with_user_images(accuracy, data, user_images)
    if data is None:
        return {"statement": "No real image was read.", "reads": []}
    count = next(iter(accuracy.values()))["n"]
    return {
        "statement": (
            "Real images were read by the stage evaluate alone, after the student and its INT8 "
            "files were finished; no setting, weight or range depends on them."
        ),
        "reads": [{"stage": "evaluate", "what": data.name, "images": count}],
    }


def _with_user_images(
    accuracy: Mapping[str, Any], data: Path | None, user_images: Mapping[str, Any]
) -> dict[str, Any]:
    said = (
        f"The pool was made from {user_images['count']} unlabeled images of the user's own "
        f"({user_images['path']}), named as its prior"
    )
    reads = [{"stage": "synthesize", "what": user_images["path"], "images": user_images["count"]}]
    if data is None:
        return {"statement": f"{said}; no other real image was read.", "reads": reads}
    count = next(iter(accuracy.values()))["n"]
    return {
        "statement": (
            f"{said}. Labeled images were read by the stage evaluate alone, after the student and "
            "its INT8 files were finished; no setting, weight or range depends on them."
        ),
        "reads": [*reads, {"stage": "evaluate", "what": data.name, "images": count}],
    }
