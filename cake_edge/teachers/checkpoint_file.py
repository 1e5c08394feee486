"""A teacher from a file: one of our own checkpoints, or weights that others wrote."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cake_edge.checkpoint import Checkpoint, load_checkpoint, read_header
from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.networks import check_architecture
from cake_edge.spec import ImageSpec
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.match import match_by_name, match_by_order, wanted_tensors
from cake_edge.teachers.preprocessing import Understood, image_spec
from cake_edge.teachers.stated import Stated, stated_by_timm
from cake_edge.teachers.timm_name import build_sized
from cake_edge.teachers.weights_file import read_state, refuse_non_finite

__all__ = ["load_file_teacher"]

logger = logging.getLogger(__name__)

State = Mapping[str, torch.Tensor]

SHOWN = 3
"""Pairs of a match by order that are shown unasked, beside the last: enough to see it is right."""


def load_file_teacher(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """Returns the teacher in `path`, on the CPU.

    Raises:
        UsageMistake: the architecture is not named, or an option does not go with the file.
        TeacherError: the file cannot be read, or its tensors do not fit the architecture.
        ArtifactError: one of our own checkpoints is damaged.
        NumericsError: a weight, or a logit, is NaN or infinite.
    """
    about = read_header(path) if path.suffix.lower() == ".safetensors" else None
    return _load_own(path, about, config) if about else _load_foreign(path, config)


def _load_own(path: Path, about: Checkpoint, config: TeacherConfig) -> FrozenTeacher:
    _agree(path, about, config)
    try:
        network, _ = load_checkpoint(path)
    except CakeEdgeError:
        raise
    except Exception as error:  # a damaged header can ask timm for anything
        raise TeacherError(
            f"{path} cannot be loaded as its header says ({type(error).__name__}: {error}); "
            "it is damaged, so get it again"
        ) from error
    refuse_non_finite(network.state_dict(), str(path))
    spec = ImageSpec(
        **{
            **{name: getattr(about.spec, name) for name in ImageSpec.__dataclass_fields__},
            **{
                name: getattr(config, name)
                for name in ("labels", "crop", "interpolation")
                if getattr(config, name) is not None
            },
        }
    )
    return FrozenTeacher(
        network,
        spec,
        architecture=about.architecture,
        arguments=about.arguments,
        source=path.name,
        origins=dict.fromkeys(("classes", "input size", "mean and std"), "the checkpoint's header"),
    )


def _agree(path: Path, about: Checkpoint, config: TeacherConfig) -> None:
    """Refuses options that contradict a header."""
    spec = about.spec
    pairs = {
        "--arch": (config.arch, about.architecture),
        "--input-size": (config.input_size, spec.input_size),
        "--mean": (config.mean, spec.mean),
        "--std": (config.std, spec.std),
        "--num-classes": (config.num_classes, spec.classes),
        "--value-range": (config.value_range, None),
        "--colour": (config.colour, spec.colour),
        "--head": (config.head, spec.head),
        "--arguments": (dict(config.arguments) or None, dict(about.arguments)),
        "--preset": (config.preset, None),
    }
    for option, (asked, said) in pairs.items():
        if asked is not None and asked != said:
            raise UsageMistake(
                f"{path} says of itself what {option} {asked} contradicts"
                f"{f' ({said})' if said is not None else ''}; leave {option} out"
            )


def _load_foreign(path: Path, config: TeacherConfig) -> FrozenTeacher:
    if config.arch is None:
        raise UsageMistake(
            f"{path} does not say what network its weights are for; name it with --arch NAME, "
            "one of timm's architectures"
        )
    if config.match == "order" and path.suffix.lower() == ".safetensors":
        raise UsageMistake(
            f"{path} cannot be matched by order: safetensors sorts tensors by name; "
            "rename them to timm's names, or give the PyTorch file it was made from"
        )
    check_architecture(config.arch)
    stated, defaults = stated_by_timm(config.arch, trusted=False)
    given = read_state(path)
    network, arguments, understood = _network_for(given, config, stated, defaults, path)
    wanted = wanted_tensors(network, given)
    match = match_by_order if config.match == "order" else match_by_name
    pairs = match(given, wanted, f"{path} does not fit {config.arch}")
    counters = {n: t for n, t in network.state_dict().items() if n not in wanted}
    network.load_state_dict({**counters, **{ours: given[theirs] for theirs, ours in pairs}})
    if config.match == "order":
        for place, (theirs, ours) in enumerate(pairs):
            shown = place < SHOWN or place == len(pairs) - 1
            level = logging.INFO if shown else logging.DEBUG
            logger.log(level, "%s -> %s %s", theirs, ours, list(wanted[ours].shape))
    more = "; -v shows every pair" if config.match == "order" else ""
    logger.info("%s: %d tensors matched by %s%s", path.name, len(pairs), config.match, more)
    return FrozenTeacher(
        network,
        understood.spec,
        architecture=config.arch.partition(".")[0],
        arguments=arguments,
        source=f"{path.name}, {len(pairs)} tensors matched by {config.match}",
        origins={"classes": "its weights", **understood.origins},
    )


def _network_for(
    given: State, config: TeacherConfig, stated: Stated, defaults: dict[str, Any], path: Path
) -> tuple[nn.Module, dict[str, Any], Understood]:
    """Builds the network with the channels and classes that the weights have.

    They are read where the first convolution and the head of the architecture find their
    counterparts in the file; what was asked for must agree.
    """
    assert config.arch is not None
    native = tuple(defaults.get("input_size") or (3, 224, 224))
    size = config.input_size or native
    channels, classes = size[0], config.num_classes or defaults.get("num_classes") or 1000
    network, arguments = build_sized(
        config.arch,
        channels=channels,
        classes=classes,
        size=size[1:],
        config=config,
        defaults=defaults,
    )
    found_channels = _extent(given, network, defaults.get("first_conv"), 1, config, channels)
    found_classes = _extent(given, network, defaults.get("classifier"), 0, config, classes)
    for what, option, asked, found in (
        ("channels", "--input-size", config.input_size and channels, found_channels),
        ("classes", "--num-classes", config.num_classes, found_classes),
    ):
        if asked and asked != found:
            raise TeacherError(
                f"{path} has weights for {found} {what}, but {option} asks for {asked}; "
                f"leave it out, or give {found}"
            )
    understood = image_spec(config, stated, channels=found_channels, classes=found_classes)
    if (found_channels, found_classes) != (channels, classes):
        network, arguments = build_sized(
            config.arch,
            channels=found_channels,
            classes=found_classes,
            size=size[1:],
            config=config,
            defaults=defaults,
        )
    return network, arguments, understood


def _extent(
    given: State,
    network: nn.Module,
    layer: str | tuple[str, ...] | None,
    axis: int,
    config: TeacherConfig,
    default: int,
) -> int:
    """Returns how long the weights of `layer` are along `axis`, in the unit of `default`.

    The counterpart must agree in all other axes, or it is not one and the default stands. A layer
    may hold a multiple: a stem that folds space into channels has 16 a colour.
    """
    name = f"{layer[0] if isinstance(layer, tuple) else layer}.weight"
    wanted = wanted_tensors(network, given)
    if name not in wanted:
        return default
    ours = list(wanted[name].shape)
    theirs: list[int] = []
    if config.match == "name" and name in given:
        theirs = list(given[name].shape)
    elif len(given) == len(wanted):
        theirs = list(list(given.values())[list(wanted).index(name)].shape)
    comparable = len(ours) == len(theirs) and all(
        a == b for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if i != axis
    )
    found, rest = divmod(theirs[axis] * default, ours[axis]) if comparable else (default, 0)
    return found if found > 0 and rest == 0 else default
