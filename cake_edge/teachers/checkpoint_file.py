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
from cake_edge.teachers.factory import call_factory, is_factory
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.match import (
    Matched,
    find_prefixes,
    match_by_name,
    match_by_order,
    needed_of_file,
    needed_of_network,
)
from cake_edge.teachers.network import Port, teacher_from_network
from cake_edge.teachers.one_logit import one_as_two, with_two
from cake_edge.teachers.preprocessing import Understood, image_spec
from cake_edge.teachers.stated import Stated, stated_by_network, stated_by_timm
from cake_edge.teachers.timm_name import build_sized
from cake_edge.teachers.weights_file import read_state, refuse_non_finite

__all__ = ["load_file_teacher"]

logger = logging.getLogger(__name__)

State = Mapping[str, torch.Tensor]

SHOWN = 3
"""Renamed tensors that are shown unasked, beside the last: enough to see that it is right."""


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
        read_state(path)  # What cannot be read lacks more than the name of a network.
        raise UsageMistake(
            f"{path} does not say what network its weights are for; name it with --arch NAME, "
            "one of timm's architectures, or --arch MODULE:FACTORY, Python code that builds it"
        )
    if config.match == "order" and path.suffix.lower() == ".safetensors":
        raise UsageMistake(
            f"{path} cannot be matched by order: safetensors sorts tensors by name; "
            "rename them to the network's names, or give the PyTorch file it was made from"
        )
    load = _load_with_factory if is_factory(config.arch) else _load_with_timm
    return load(path, config)


def _load_with_timm(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """Weights of a timm architecture, for as many channels and classes as they have."""
    assert config.arch is not None
    check_architecture(config.arch)
    stated, defaults = stated_by_timm(config.arch, trusted=False)
    given = read_state(path)
    network, arguments, understood, outputs = _network_for(given, config, stated, defaults, path)
    matched = _fill(network, given, config, path)
    teacher = FrozenTeacher(
        with_two(network, outputs),
        understood.spec,
        architecture=config.arch.partition(".")[0],
        arguments=arguments,
        source=f"{path.name}, {len(matched.pairs)} tensors matched by {config.match}",
        origins={"classes": "its weights", **understood.origins},
    )
    teacher.matched = matched
    return teacher


def _load_with_factory(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """Weights of the network that MODULE:FACTORY builds."""
    assert config.arch is not None
    given = read_state(path)
    network = call_factory(config.arch, config.arguments, seed=0)
    matched = _fill(network, given, config, path)
    # timm notes its own configuration on what it builds, whoever's weights go in.
    trusted = not type(network).__module__.startswith("timm.")
    teacher = teacher_from_network(
        network,
        config,
        stated_by_network(network, trusted=trusted) or Stated(origin=config.arch),
        Port(),
        architecture=config.arch,
        arguments=config.arguments,
        source=f"{path.name}, {len(matched.pairs)} tensors matched by {config.match}",
    )
    teacher.matched = matched
    return teacher


def _fill(network: nn.Module, given: State, config: TeacherConfig, path: Path) -> Matched:
    """Loads the tensors into their places, all of them or none, and shows which went where."""
    state = network.state_dict()
    match = match_by_order if config.match == "order" else match_by_name
    matched = match(given, state, f"{path} does not fit {config.arch}")
    network.load_state_dict({**state, **{ours: given[theirs] for theirs, ours in matched.pairs}})
    renamed = [pair for pair in matched.pairs if pair[0] != pair[1]]
    for place, (theirs, ours) in enumerate(renamed):
        shown = place < SHOWN or place == len(renamed) - 1
        level = logging.INFO if shown else logging.DEBUG
        logger.log(level, "%s -> %s %s", theirs, ours, list(state[ours].shape))
    more = "; -v shows every pair" if len(renamed) > SHOWN + 1 else ""
    logger.info("%s: %d tensors matched by %s%s", path.name, len(matched.pairs), config.match, more)
    if matched.left_out:
        some = ", ".join(matched.left_out[:SHOWN])
        more = f" and {len(matched.left_out) - SHOWN} more" if len(matched.left_out) > SHOWN else ""
        logger.warning(
            "%s: %d of its tensors are none of the network's and were left out: %s%s",
            path.name, len(matched.left_out), some, more,
        )  # fmt: skip
    return matched


def _network_for(
    given: State, config: TeacherConfig, stated: Stated, defaults: dict[str, Any], path: Path
) -> tuple[nn.Module, dict[str, Any], Understood, int]:
    """Builds the network with the channels and classes that the weights have; counts the latter.

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
    state = network.state_dict()
    counterparts = _counterparts(given, state, config, f"{path} does not fit {config.arch}")
    found_channels, found_classes = (
        _extent(given, state, counterparts, defaults.get(layer), axis, default)
        for layer, axis, default in (("first_conv", 1, channels), ("classifier", 0, classes))
    )
    # One output is two classes, and either number says so.
    number = 1 if (found_classes, config.num_classes) == (1, 2) else config.num_classes
    for what, option, asked, found in (
        ("channels", "--input-size", config.input_size and channels, found_channels),
        ("classes", "--num-classes", number, found_classes),
    ):
        if asked and asked != found:
            raise TeacherError(
                f"{path} has weights for {found} {what}, but {option} asks for {asked}; "
                f"leave it out, or give {found}"
            )
    said, stated, apart = one_as_two(config, stated, found_classes)
    understood = image_spec(said, stated, channels=found_channels, classes=apart)
    if (found_channels, found_classes) != (channels, classes):
        network, arguments = build_sized(
            config.arch,
            channels=found_channels,
            classes=found_classes,
            size=size[1:],
            config=config,
            defaults=defaults,
        )
    return network, arguments, understood, found_classes


def _counterparts(given: State, state: State, config: TeacherConfig, where: str) -> dict[str, str]:
    """Names in the file by those in the network, for as many as are found.

    A file whose names are not known may fit by order; then an error is to say so.
    """
    theirs, ours = needed_of_file(given), needed_of_network(state)
    by_order = dict(zip(ours, theirs, strict=True)) if len(theirs) == len(ours) else {}
    if config.match == "order":
        return by_order
    prefixes = find_prefixes(given, state, where)
    by_name = {name: prefixes.their_name(name) for name in state}
    return {**by_order, **{ours: theirs for ours, theirs in by_name.items() if theirs in given}}


def _extent(
    given: State,
    state: State,
    counterparts: Mapping[str, str],
    layer: str | tuple[str, ...] | None,
    axis: int,
    default: int,
) -> int:
    """Returns how long the weights of `layer` are along `axis`, in the unit of `default`.

    The counterpart must agree in all other axes, or it is not one and the default stands. A layer
    may hold a multiple: a stem that folds space into channels has 16 a colour.
    """
    name = f"{layer[0] if isinstance(layer, tuple) else layer}.weight"
    theirs_name = counterparts.get(name, "")
    if name not in state or theirs_name not in given:
        return default
    ours, theirs = list(state[name].shape), list(given[theirs_name].shape)
    comparable = len(ours) == len(theirs) and all(
        a == b for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if i != axis
    )
    found, rest = divmod(theirs[axis] * default, ours[axis]) if comparable else (default, 0)
    return found if found > 0 and rest == 0 else default
