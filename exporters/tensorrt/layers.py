"""The layers of an engine: what they compute in, which only move data, which run on a DLA.

Told in three forms that say the same:
    the engine inspector up to 10   "Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]
    the engine inspector from 11    "Inputs": [{"Format": "LINEAR", "DataType": "FP16"}]
    the builder's log of 11 and of tensorrt_rtx, the only one that needs no GPU, one line a layer
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cake_edge.errors import ArtifactError

__all__ = ["Layer", "layers_from_inspector", "layers_from_log", "summarise_layers"]

HEADING = "Layers:\n"
LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: (?P<taken>.*?), "
    r"Outputs: (?P<given>.*?), (?:TacticName|TacticValue|StreamId|Metadata): (?P<rest>.*)$"
)
DATATYPE = re.compile(r"Datatype: (\w+)")
NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
TYPES = (
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8\b|e4m3", re.IGNORECASE)),
    ("int4", re.compile(r"\bint4\b", re.IGNORECASE)),
    ("fp4", re.compile(r"\bfp4\b|e2m1", re.IGNORECASE)),
    ("bf16", re.compile(r"\bbf16\b|bfloat16", re.IGNORECASE)),
    ("fp16", re.compile(r"\bfp16\b|\bhalf\b|\bfloat16\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\bfp32\b|\bfloat\b|\bfloat32\b", re.IGNORECASE)),
)
OTHER = "other"
MOVES = ("Reformatting CopyNode", "__myl_Move_")
"""How the names begin of layers that change a tensor's layout and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an engine."""

    name: str
    kind: str
    """NVIDIA's word for it, such as CaskConvolution, Reformat, kgen or DLA; empty where the engine
    tells names alone."""
    taken: tuple[str, ...]
    """Types of inputs and constants, in order: int8, fp16, fp32, …, or "other"."""
    given: tuple[str, ...]
    """Types of outputs."""
    nodes: tuple[str, ...]
    """The ONNX nodes it stands for."""

    @property
    def reformats(self) -> bool:
        """Whether it only changes the layout or the type of a tensor."""
        return self.kind == "Reformat" or self.name.startswith(MOVES)

    @property
    def precision(self) -> str | None:
        """The type of the first tensor it reads, or else writes; None where it is not told."""
        return next(iter(self.taken or self.given), None)


def layers_from_inspector(text: str) -> tuple[Layer, ...]:
    """Reads what `EngineInspector.get_engine_information` or trtexec's --exportLayerInfo gives.

    Raises:
        ArtifactError: it is not such JSON.
    """
    try:
        found = json.loads(text)
        return tuple(map(_layer, found["Layers"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"this is not the layer information of an engine ({error!r}); it is JSON with a list "
            '"Layers", as trtexec --exportLayerInfo writes'
        ) from error


def _layer(told: str | Mapping[str, Any]) -> Layer:
    if isinstance(told, str):  # An engine built without detailed profiling has names alone.
        return Layer(name=told, kind="", taken=(), given=(), nodes=())
    taken = [*map(_type, told.get("Inputs", ())), *map(_type, told.get("Constants", ()))]
    weights = told.get("Weights")
    if isinstance(weights, Mapping) and weights.get("Type"):
        taken.append(_named(str(weights["Type"])))
    return Layer(
        name=str(told["Name"]),
        kind=str(told.get("LayerType", "")),
        taken=tuple(taken),
        given=tuple(map(_type, told.get("Outputs", ()))),
        nodes=tuple(NODE.findall(str(told.get("Metadata", "")))),
    )


def _type(tensor: Mapping[str, Any]) -> str:
    for key in ("DataType", "Datatype", "Format/Datatype", "Format"):
        if key in tensor:
            return _named(str(tensor[key]))
    return OTHER


def _named(words: str) -> str:
    return next((name for name, pattern in TYPES if pattern.search(words)), OTHER)


def layers_from_log(lines: Iterable[str]) -> tuple[Layer, ...] | None:
    """Reads the list of layers that ends a verbose build; None where the log holds none."""
    listing = next((line for line in lines if line.startswith(HEADING)), None)
    if listing is None:
        return None
    found = (LINE.match(line) for line in listing.splitlines())
    return tuple(
        Layer(
            name=each["name"],
            kind=each["kind"],
            taken=tuple(map(_named, DATATYPE.findall(each["taken"]))),
            given=tuple(map(_named, DATATYPE.findall(each["given"]))),
            nodes=tuple(NODE.findall(each["rest"])),
        )
        for each in found
        if each
    )


def summarise_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """Counts layers: why an INT8 engine is not faster shows here first.

    Returns:
        `layers`: how many; `precisions`: by the type of what they read, those apart that only
        move data or say nothing; `reformats`: layers that change a layout and nothing else;
        `dla`: layers (each a whole subgraph) on a deep learning accelerator.
    """
    told = [each.precision for each in layers if not each.reformats]
    return {
        "layers": len(layers),
        "precisions": dict(sorted(Counter(each for each in told if each is not None).items())),
        "reformats": sum(layer.reformats for layer in layers),
        "dla": sum(layer.kind == "DLA" for layer in layers),
    }
