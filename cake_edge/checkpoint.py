"""A network in one safetensors file: its weights, and in the header what is needed to use them.

The header's `cake_edge` entry is a JSON object with `architecture`, `arguments` (of timm), `spec`
and `manifest`. It holds no date and no path, so equal inputs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.memory import check_memory
from cake_edge.networks import build_network
from cake_edge.provenance import atomic_path, canonical_json
from cake_edge.spec import ImageSpec

__all__ = [
    "Checkpoint",
    "build_described",
    "load_checkpoint",
    "read_header",
    "save_checkpoint",
    "write_tensors",
]

FORMAT = 1
KEY = "cake_edge"
FILES = ("checkpoint_path", "cache_dir")
"""Arguments of `timm.create_model` that name files."""
DEPTHS = ("layers", "depth", "depths")
"""Arguments that are numbers of layers."""
LARGEST = 2**13
"""Of whole numbers among the arguments: widths, depths, sides of an image."""
LARGER, SLACK = 4, 2**22
"""How much larger a network may be than its file says, in values, before memory is given to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file says of itself."""

    architecture: str
    """timm's name."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `timm.create_model` beside channels and classes."""
    spec: ImageSpec
    """What the network expects of its input."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Configuration, seed, versions and the hash of what it was made from."""


def save_checkpoint(
    path: Path, network: nn.Module, about: Checkpoint, *, half: bool = False
) -> None:
    """Writes weights and header to `path`, atomically.

    Args:
        half: store floating point weights as float16; they are read back as float32.
    """
    # Copies, because safetensors refuses weights that share memory.
    state = {n: t.detach().to("cpu", copy=True) for n, t in network.state_dict().items()}
    if half:
        state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    write_tensors(path, state, about)


def write_tensors(
    path: Path, state: Mapping[str, torch.Tensor], about: Checkpoint, *, key: str = KEY
) -> None:
    """Writes tensors with a header under `key`, atomically."""
    header = {
        "format": FORMAT,
        "architecture": about.architecture,
        "arguments": dict(about.arguments),
        "spec": about.spec.to_dict(),
        "manifest": dict(about.manifest),
    }
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata={key: canonical_json(header)})


def read_header(path: Path, *, key: str = KEY) -> Checkpoint | None:
    """Returns the header of a safetensors file, or None where it has none under `key`.

    Raises:
        ArtifactError: the file is not safetensors, or its header is damaged.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name a checkpoint file")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path} is not a readable safetensors file ({error}): it is cut short or of another "
            "kind; give a checkpoint that distill wrote (a teacher's weights go with --arch)"
        ) from error
    if key not in metadata:
        return None
    try:
        header = json.loads(metadata[key])
        if header["format"] != FORMAT:
            raise ArtifactError(
                f"{path} has checkpoint format {header['format']}; this version reads {FORMAT}: "
                "install the cake-edge that wrote it, or a newer one"
            )
        return Checkpoint(
            architecture=str(header["architecture"]),
            arguments=dict(header["arguments"]),
            spec=ImageSpec.from_dict(header["spec"]),
            manifest=dict(header["manifest"]),
        )
    except (KeyError, RecursionError, TypeError, ValueError, UsageMistake) as error:
        raise ArtifactError(
            f"the header of {path} is damaged ({error!r}); make the file again"
        ) from error


def build_described(path: Path, about: Checkpoint) -> nn.Module:
    """Returns the network that a header names, with other weights, built only if it fits the file.

    Raises:
        ArtifactError: its arguments are no network's, or it is far larger than what is stored.
    """
    with safe_open(path, framework="pt") as stream:
        names = list(stream.keys())
        stored = sum(prod(stream.get_slice(name).get_shape()) for name in names)
    check_memory(path, stored * 4, ArtifactError)
    strange = [
        name
        for name, value in about.arguments.items()
        # Each layer has a tensor at least.
        if _is_strange(name, value, len(names) if name in DEPTHS else LARGEST)
    ]
    if strange:
        raise ArtifactError(
            f"the header of {path} gives the network the arguments {', '.join(strange)}, or values "
            "for them, that no network is built with; it is damaged, so make the file again"
        )
    build = partial(
        build_network,
        about.architecture,
        channels=about.spec.channels,
        classes=about.spec.classes,
        arguments=about.arguments,
    )
    # Without memory for its weights first; what cannot be built so is left to the real attempt.
    with suppress(Exception), torch.device("meta"):
        wanted = sum(tensor.numel() for tensor in build().state_dict().values())
        if wanted > LARGER * stored + SLACK:
            stored = -1
    if stored < 0:
        raise ArtifactError(
            f"the header of {path} names a network of {wanted:,} values, far more than the file "
            "holds; it is damaged, so make the file again"
        )
    try:
        return build()
    except UsageMistake as error:
        raise ArtifactError(f"the network that {path} names cannot be built: {error}") from error


def _is_strange(name: str, value: object, most: int) -> bool:
    """Whether an argument would read other files, or is a number that no network has."""
    if name in FILES or name.startswith("pretrained"):
        return True
    inner = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(inner, list):
        return any(_is_strange("", each, most) for each in inner)
    return isinstance(inner, int) and not -most <= inner <= most


def load_checkpoint(path: Path) -> tuple[nn.Module, Checkpoint]:
    """Returns the network in eval mode, float32 on the CPU, and its header.

    Raises:
        ArtifactError: the file is not one of ours, or its weights do not fit its header.
    """
    about = read_header(path)
    if about is None:
        raise ArtifactError(
            f"{path} carries no cake_edge header; name its architecture with --arch to use it "
            "as a teacher"
        )
    network = build_described(path, about)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        more = f" And {len(faults) - 1} more such faults." if len(faults) > 1 else ""
        raise ArtifactError(
            f"the weights in {path} do not fit {about.architecture}, which its header names: "
            f"{(faults or [str(error)])[0]}{more} Make the file again"
        ) from error
    return network.to(torch.float32).eval(), about
