"""Everything that is understood of a teacher, and how well it can be compressed."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cake_edge.hooks import statistics_layers
from cake_edge.provenance import sha256_file
from cake_edge.samplers import SAMPLERS
from cake_edge.samplers.linear_head import head_weights
from cake_edge.samplers.needs import NEEDS
from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import Adapter, fixed_batch
from cake_edge.teachers.anatomy import (
    Gradient,
    Norm,
    input_gradient,
    multiply_adds,
    norm_layers,
)
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.factory import is_factory
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.plausibility import IMAGES, Plausibility, check_preprocessing
from cake_edge.teachers.preprocessing import PixelsUnknown
from cake_edge.teachers.reference import load_teacher, teacher_file

__all__ = ["ADAPTERS", "Fit", "Inspection", "inspect_reference", "inspect_teacher"]

logger = logging.getLogger(__name__)

ADAPTERS = {
    "ChannelsLast": "images are turned to [N, H, W, C], as it takes them",
    "FixedBatch": "images are shown in parts of the one number that it takes",
    "LogitsOf": "the logits are taken out of an answer that holds more",
    "LogitsOfProbabilities": "the softmax at its end is undone by a logarithm",
    "LogitsOfShares": "the sigmoid at its end is undone",
    "TwoLogits": "its one logit becomes two, for no and yes",
    "ClassSubset": "only the classes that were asked for are left",
    "MeanAnswer": "its probabilities are averaged with those of the other teachers",
}
"""What each adapter of `cake_edge.teachers.adapters`, `subset` and `several` does, for a person."""

WORK = 5 * 10**10
"""Multiply-adds that the check may cost in each preprocessing: some ten seconds of one core."""
FEWEST = 32
"""Images below which the check tells nothing."""
UNKNOWN = "not known: give --mean and --std, or --preset"


WITHOUT_GRADIENTS = {"cake": "only its prior images are left: --set pushed_share=0"}
"""What is left of a sampler where none reach the input, by its name."""
WHOLE_TUPLES = ("cake-paper",)
"""Samplers whose tuples of distinct classes must not be longer than the teacher has classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a sampler can work with a teacher."""

    name: str
    """In `SAMPLERS`."""
    fits: bool
    """Whether it works as its defaults are."""
    said: str
    """What it loses, or what to do; empty where nothing is to be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is understood of a teacher."""

    kind: str
    """How it came, in words."""
    file: dict[str, Any] | None
    """Name, bytes and SHA-256 of the file it came from, where there is one."""
    source: str
    """The line that manifests have."""
    architecture: str
    """timm's name of it, or how else it came."""
    arguments: dict[str, Any]
    """With which that name is built."""
    parameters: int
    """Weights."""
    macs: int | None
    """Multiply-adds of one image; None where they cannot be counted."""
    spec: dict[str, Any]
    """`ImageSpec.to_dict`; mean and std are None where nobody says them."""
    value_range: tuple[float, float] | None
    """What black and white of the widest channel become, likewise."""
    origins: dict[str, str]
    """For parts of the spec, who says so."""
    adapters: tuple[str, ...]
    """What stands between images and logits besides the network, from the outside in."""
    batch: int | None
    """The one number of images that it takes at a time; None for any."""
    norms: tuple[Norm, ...]
    """Normalisation layers by kind."""
    gradient: Gradient
    """How gradients reach the input."""
    samplers: tuple[Fit, ...]
    """Which of them can work with it."""
    matched: tuple[tuple[str, str], ...] | None
    """(name in the file, name in the network), for weights that were put into a network."""
    left_out: tuple[str, ...]
    """Tensors of the file that are none of the network's."""
    check: Plausibility | None
    """Which preprocessing it was trained with, as far as its answers show; None if not asked."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def inspect_reference(config: TeacherConfig, *, seed: int = 0, check: bool = True) -> Inspection:
    """Loads a teacher on the CPU and says what was understood of it.

    A teacher of which nothing but mean and std is missing is inspected all the same.

    Args:
        config: the reference, and what is said beside it.
        seed: of random weights, and of the images of the check.
        check: whether to compare preprocessings.

    Raises:
        CakeEdgeError: as `load_teacher` does.
    """
    known, device = True, torch.device("cpu")
    try:
        teacher = load_teacher(config, device=device, seed=seed)
    except PixelsUnknown as error:
        logger.warning("%s; the rest is inspected all the same", error)
        known = False
        guess = dataclasses.replace(config, preset="zero-one")
        teacher = load_teacher(guess, device=device, seed=seed)
    return inspect_teacher(teacher, config, known=known, seed=seed, check=check)


def inspect_teacher(
    teacher: FrozenTeacher,
    config: TeacherConfig,
    *,
    known: bool = True,
    seed: int = 0,
    check: bool = True,
) -> Inspection:
    """Says what was understood of a teacher that is loaded.

    Args:
        teacher: from `load_teacher`.
        config: what it was loaded from.
        known: whether its mean and std were said by anybody.
        seed: of the images of the check.
        check: whether to compare preprocessings.
    """
    path, macs = teacher_file(config), multiply_adds(teacher)
    if check:
        logger.info("comparing preprocessings on %d images (--no-check leaves out)", _images(macs))
    gradient, norms = input_gradient(teacher), norm_layers(teacher)
    spec = teacher.spec.to_dict()
    return Inspection(
        kind=_kind(config, teacher),
        file=None if path is None else _about(path),
        source=teacher.source,
        architecture=teacher.architecture,
        arguments=teacher.arguments,
        parameters=teacher.parameters_total,
        macs=macs,
        spec=spec if known else {**spec, "mean": None, "std": None},
        value_range=_value_range(teacher.spec) if known else None,
        origins=teacher.origins if known else {**teacher.origins, "mean and std": UNKNOWN},
        adapters=tuple(_adapters(teacher)),
        batch=fixed_batch(teacher.network),
        norms=norms,
        gradient=gradient,
        samplers=tuple(_fit(name, teacher, gradient) for name in SAMPLERS),
        matched=None if teacher.matched is None else tuple(teacher.matched.pairs),
        left_out=() if teacher.matched is None else tuple(teacher.matched.left_out),
        check=check_preprocessing(teacher, known=known, images=_images(macs), seed=seed)
        if check
        else None,
    )


def _images(macs: int | None) -> int:
    """How many the check shows: fewer to a network that would take minutes."""
    return IMAGES if macs is None else max(FEWEST, min(IMAGES, WORK // macs))


def _kind(config: TeacherConfig, teacher: FrozenTeacher) -> str:
    scheme = config.reference.partition(":")[0]
    kinds = {
        "timm": "timm's network by its name",
        "hf-hub": "a timm model of the Hugging Face hub",
        "local-dir": "a timm model in a folder",
        "embedded": "the teacher that comes with this package",
    }
    files = {"onnx": "an ONNX model", "torch.export": "a torch.export archive"}
    where = " in an installed package" if scheme == "package" else ""
    if scheme in kinds:
        return kinds[scheme]
    if teacher.architecture in (*files, "torchscript"):
        return files.get(teacher.architecture, "a TorchScript program") + where
    if is_factory(config.reference) and teacher.source.startswith(config.reference):
        return "a network that Python code builds"
    if config.arch is None or teacher.matched is None:
        return f"a checkpoint that describes itself{where}"
    code = " that Python code builds" if is_factory(config.arch) else " of timm's"
    return f"weights of a network{code}, in a file{where}"


def _about(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _value_range(spec: ImageSpec) -> tuple[float, float]:
    """What black and white become in the channel that spans most."""
    channels = zip(spec.mean, spec.std, strict=True)
    ends = [(0.0 - mean / std, (1 - mean) / std) for mean, std in channels]
    return max(ends, key=lambda end: end[1] - end[0])


def _adapters(teacher: FrozenTeacher) -> list[str]:
    found, network = [], teacher.network
    while isinstance(network, Adapter):
        found.append(ADAPTERS[type(network).__name__])
        network = network.network
    return found


def _fit(name: str, teacher: FrozenTeacher, gradient: Gradient) -> Fit:
    needs = NEEDS[name]
    said = ""
    if "gradients" in needs and not (gradient.reached and gradient.finite):
        said = WITHOUT_GRADIENTS.get(
            name, "it follows gradients, and none that are finite reach the input"
        )
    elif "exclusive classes" in needs and teacher.spec.head != "softmax":
        said = "it is for classes that exclude each other, and the teacher's labels do not"
    elif name in WHOLE_TUPLES and (size := _tuple_size(name)) > teacher.spec.classes:
        said = f"its tuples of {size} classes are longer than the teacher's: --set tuple_size="
        said += str(teacher.spec.classes)
    elif "statistics" in needs and not statistics_layers(teacher.network):
        said = "no BatchNorm statistics are left to match: --set statistics=0 does without them"
    elif "linear head" in needs and head_weights(teacher) is None:
        said = "the logits are not the product of a last linear layer"
    return Fit(name=name, fits=not said, said=said)


def _tuple_size(name: str) -> int:
    return int(getattr(SAMPLERS[name](), "tuple_size"))  # noqa: B009  # not of every sampler
