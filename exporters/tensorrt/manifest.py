"""What an engine was made from and for: a JSON file beside it, `NAME.engine.json`.

Beside, not inside: bytes before an engine keep trtexec and every other tool from reading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError
from cake_edge.provenance import read_json, sha256_file, write_json
from exporters.artifact import METADATA_KEY, ModelCard, card_from_metadata

__all__ = ["Manifest", "manifest_path", "read_manifest", "write_manifest"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An engine's own account; plain JSON values."""

    onnx: Mapping[str, Any]
    """`name`, `sha256` (with the weights beside it, if any) and `bytes` of the file built."""
    engine: Mapping[str, Any]
    """`sha256` and `bytes`."""
    module: str
    """"tensorrt" or "tensorrt_rtx"."""
    version: str
    """Of that module: no other opens the engine, unless it is version compatible."""
    gpu: Mapping[str, Any] | None
    """The GPU it was built on, as `Gpu.to_dict`; None where there was none."""
    compute_capability: str
    """What it is for: "8.6", "8.0 and later", or "present" for the GPU it was built on."""
    config: Mapping[str, Any]
    """`EngineConfig.to_dict`."""
    typing: str
    """"strong", or "weak" and the types that the builder was free to use."""
    profile: Mapping[str, Any]
    """By input: smallest, usual and largest shape, where the file leaves some of it open."""
    layers: Mapping[str, Any] | None
    """`summarise_layers`: layers by precision, reformats, those on a DLA."""
    coverage: Mapping[str, Any] | None
    """Operators with weights in INT8 and in float."""
    warnings: tuple[str, ...]
    """What TensorRT did not like and did all the same."""
    seconds: float
    """How long the build took."""
    card: str | None
    """The ONNX file's card, as JSON text; None where it is not one of ours."""

    def model_card(self) -> ModelCard | None:
        """The card of the ONNX file.

        Raises:
            ArtifactError: it is damaged.
        """
        return None if self.card is None else card_from_metadata({METADATA_KEY: self.card})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema_version": SCHEMA, **asdict(self), "warnings": list(self.warnings)}


def manifest_path(engine: Path) -> Path:
    """Where the manifest of an engine lies."""
    return engine.with_name(f"{engine.name}.json")


def write_manifest(engine: Path, manifest: Manifest) -> None:
    """Writes the manifest of an engine that is, or will be, at that place."""
    write_json(manifest_path(engine), manifest.to_dict())


def read_manifest(engine: Path) -> Manifest | None:
    """Returns the manifest beside an engine; None where there is none, as trtexec leaves it.

    Raises:
        ArtifactError: it is damaged, or of another engine.
    """
    path = manifest_path(engine)
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        found = Manifest(
            **{
                **{each.name: values[each.name] for each in fields(Manifest)},
                "warnings": tuple(values["warnings"]),
            }
        )
        of_this = found.engine["sha256"] == sha256_file(engine)
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({error!r}); build the engine again, or remove this file"
        ) from error
    if not of_this:
        raise ArtifactError(
            f"{path} tells of another engine than the one beside it; build the engine again, or "
            "remove this file"
        )
    return found
