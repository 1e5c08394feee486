"""What trtexec measured on a board as a result of `bench`: the runs, joined with the files here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import sha256_file
from exporters.artifact import ModelCard, card_from_metadata
from exporters.tensorrt.manifest import read_manifest
from exporters.tensorrt.onnx_header import read_header
from exporters.trtexec.results import rows_from_trtexec

__all__ = ["bench_from_trtexec"]


def bench_from_trtexec(runs: Sequence[Path], models: Sequence[Path]) -> dict[str, Any]:
    """Reads runs of trtexec, and says of each which file it timed.

    Args:
        runs: as for `rows_from_trtexec`.
        models: the ONNX files or engines that were timed, in any order: a run says the name of
            its own, and where it does not, one run and one model belong together.

    Returns:
        What `rows_from_trtexec` does, its rows with the size, the hash and the card of the file,
        and `device`, as far as trtexec tells of it: `read_bench_file` takes it as JSON.

    Raises:
        UsageMistake: nothing is given, or a run has no model or a model no run.
        ArtifactError: as `rows_from_trtexec`; or a model is missing or damaged.
    """
    found = rows_from_trtexec(runs)
    rows, left = [], list(models)
    for row in found["models"]:
        model = _model_of(row["path"], models, alone=len(found["models"]) == len(models) == 1)
        left = [each for each in left if each != model]
        rows.append({**row, **_about(model)})
    if left:
        timed = ", ".join(row["path"] for row in found["models"])
        raise UsageMistake(f"no run timed {left[0]}: the runs are of {timed}; leave it out")
    runtime = found["environment"]["runtime"]
    device = {"model": runtime["gpu"], "tensorrt": runtime["version"]}
    return {**found, "models": rows, "device": device}


def _model_of(told: str, models: Sequence[Path], *, alone: bool) -> Path:
    """The model of a run that tells this name: its file's, its engine's, or its folder's."""
    name = PurePosixPath(told.replace("\\", "/")).name
    named = [model for model in models if model.name == name]
    if len(named) == 1:
        return named[0]
    # An engine may bear any name, and a run without its log has none; one with an ONNX file has.
    if alone and not name.endswith(".onnx"):
        return models[0]
    given = ", ".join(map(str, models)) or "none"
    why = "several of that name are" if named else f"what is given is {given}"
    raise UsageMistake(
        f"a run timed {told}, and {why}; name with --model the file that was copied to the board"
    )


def _about(path: Path) -> dict[str, Any]:
    card, digest = _card(path)
    return {
        "role": card.role if card else None,
        "precision": card.precision if card else None,
        "target": card.target if card else None,
        "architecture": card.architecture if card else None,
        "parameters": card.parameters if card else None,
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


def _card(path: Path) -> tuple[ModelCard | None, str]:
    """What a file says of itself, and the hash of its bytes."""
    if path.suffix == ".onnx":
        return card_from_metadata(read_header(path).metadata), sha256_file(path)
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file or engine")
    manifest = read_manifest(path)
    return manifest.model_card() if manifest is not None else None, sha256_file(path)
