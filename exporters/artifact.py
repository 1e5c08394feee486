"""What a model file says of itself: the JSON in `metadata_props["cake_edge"]`.

Reading it needs no onnx: a runtime hands out the metadata of the file it has opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import canonical_json
from cake_edge.spec import ImageSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["METADATA_KEY", "PRECISIONS", "ROLES", "ModelCard", "attach_card", "card_from_metadata"]

METADATA_KEY = "cake_edge"
PRECISIONS = ("fp32", "int8", "int4")
ROLES = ("teacher", "student")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model file's own account: what it is, what it takes, what it was made from."""

    architecture: str
    """timm's name."""
    spec: ImageSpec
    """What it takes and gives; written as `input_size`, `mean`, `std`, `classes`, `labels`, …"""
    role: str
    """"teacher" or "student"."""
    parent: str
    """SHA-256 of the weights or of the file it was made from."""
    precision: str = "fp32"
    """"fp32"; or what weights are, "int8" or "int4"."""
    target: str = "any"
    """The runtime it was quantized for, or "any" for a float file."""
    parameters: int = 0
    """Number of weights of the network."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Configuration, seed and versions behind it; plain JSON values without dates or paths."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageMistake(f"precision is {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        if self.role not in ROLES:
            raise UsageMistake(f"role is {self.role!r}; allowed: {', '.join(ROLES)}")
        if len(self.parent) != 64 or not set(self.parent) <= set("0123456789abcdef"):
            raise UsageMistake(f"parent is {self.parent!r}; it must be a SHA-256 in hexadecimal")

    def to_json(self) -> str:
        """Canonical JSON: equal cards give equal text."""
        return canonical_json(
            {
                **self.spec.to_dict(),
                "architecture": self.architecture,
                "role": self.role,
                "parent": self.parent,
                "precision": self.precision,
                "target": self.target,
                "parameters": self.parameters,
                "manifest": dict(self.manifest),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Reads `to_json`; keys it does not know are left alone.

        Raises:
            ArtifactError: the text is not a complete card.
        """
        try:
            values = json.loads(text)
            return cls(
                architecture=str(values["architecture"]),
                spec=ImageSpec.from_dict(values),
                role=str(values["role"]),
                parent=str(values["parent"]),
                precision=str(values["precision"]),
                target=str(values["target"]),
                parameters=int(values["parameters"]),
                manifest=dict(values["manifest"]),
            )
        except (
            KeyError, OverflowError, RecursionError, TypeError, ValueError, UsageMistake,
        ) as error:  # fmt: skip
            raise ArtifactError(
                f"the {METADATA_KEY!r} metadata of the model is damaged ({error!r}); "
                "export the model again"
            ) from error


def card_from_metadata(metadata: Mapping[str, str]) -> ModelCard | None:
    """Returns the card among a file's metadata, or None where the file is not one of ours.

    Raises:
        ArtifactError: there is one, and it is damaged.
    """
    text = metadata.get(METADATA_KEY)
    return ModelCard.from_json(text) if text is not None else None


def attach_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Writes `card` into `model` in place of all metadata it had."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
