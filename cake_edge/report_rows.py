"""Objects of a run's report that are put together from what its stages recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.provenance import sha256_file
from exporters.runtimes import open_session

__all__ = ["data_free", "model_row"]


def model_row(
    folder: Path, file: Path, measured: Mapping[str, Any] | None, latency: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the `models` object of a report for one ONNX file.

    Args:
        folder: the run's; paths in a report are relative to it.
        measured: what the evaluation found of the file; None where there was none.
        latency: what the stage bench found of all files.
    """
    with open_session(file) as session:
        card = session.card
    assert card is not None  # every file of a run was written with one
    measured = measured or {}
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
        "latency_ms": latency["latency"][file.name],
        "n": measured.get("n"),
        "sha256": sha256_file(file),
        "architecture": card.architecture,
        "speedup": latency["speedup"][file.name],
    }


def data_free(accuracy: Mapping[str, Any], data: Path | None) -> dict[str, Any]:
    """Returns the statement of what real data was read, and when."""
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
