"""A teacher by timm's name, or from a hub in timm's form; trained, or with random weights."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.networks import build_network, check_architecture
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.hub import SCHEMES, never_hanging, published
from cake_edge.teachers.one_logit import one_as_two, with_two
from cake_edge.teachers.preprocessing import image_spec
from cake_edge.teachers.stated import Stated, stated_by_config, stated_by_timm

__all__ = ["build_sized", "load_timm"]

logger = logging.getLogger(__name__)


class _Model(NamedTuple):
    """What is known of a model before it is built."""

    reference: str
    """As a person writes it."""
    name: str
    """timm's name of the architecture; with a tag where timm itself has the weights."""
    stated: Stated
    defaults: dict[str, Any]
    """timm's pretrained_cfg."""
    arguments: Mapping[str, Any]
    """Arguments that the weights were trained with."""
    elsewhere: bool
    """Whether `defaults` says where the weights are, and not timm."""


def load_timm(name: str, config: TeacherConfig, *, seed: int = 0) -> FrozenTeacher:
    """Returns the teacher `name`, on the CPU.

    Args:
        name: timm's name, tag included; or hf-hub:ORG/NAME, or local-dir:FOLDER.
        config: what a person said beside it.
        seed: of random weights, where those are asked for.

    Raises:
        UsageMistake: timm does not know the name, or an option does not go with it.
        TeacherError: the weights cannot be fetched, or have other classes or channels.
    """
    model = _known(name)
    if config.arch is not None or config.match != "name":
        raise UsageMistake(
            f"--arch and --match are for checkpoint files; {model.reference} says all of it by "
            "its name"
        )
    channels, classes = _sizes(model, config)
    said, stated, apart = one_as_two(config, model.stated, classes)
    spec, origins = image_spec(said, stated, channels=channels, classes=apart)
    if config.random_weights:
        logger.info("%s with random weights, seed %d", model.reference, seed)
    config = dataclasses.replace(config, arguments={**model.arguments, **config.arguments})
    network, arguments = build_sized(
        model.name,
        channels=channels,
        classes=classes,
        size=(spec.height, spec.width),
        config=config,
        defaults=model.defaults,
        seed=seed,
        trained=None if config.random_weights else model,
    )
    drawn = f" with random weights {seed}" if config.random_weights else ""
    return FrozenTeacher(
        with_two(network, classes),
        spec,
        architecture=model.name.partition(".")[0],
        arguments=arguments,
        source=f"{model.reference}{drawn}",
        origins={"classes": model.stated.origin, **origins},
    )


def _known(name: str) -> _Model:
    if name.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
        found = published(name)
        stated = stated_by_config(found.config, f"the config.json of {name}", trusted=True)
        return _Model(name, found.architecture, stated, found.config, found.arguments, True)
    check_architecture(name)
    stated, defaults = stated_by_timm(name, trusted=True)
    return _Model(f"timm:{name}", name, stated, defaults, {}, False)


def _sizes(model: _Model, config: TeacherConfig) -> tuple[int, int]:
    """Channels and classes: as asked for with random weights, or else as trained."""
    defaults = model.defaults
    native = (defaults.get("input_size") or (3, 224, 224))[0], defaults.get("num_classes", 1000)
    channels = config.input_size[0] if config.input_size else native[0]
    classes = config.num_classes if config.num_classes is not None else native[1]
    if config.random_weights:
        return channels, classes or 1000
    if not native[1]:
        raise TeacherError(
            f"the weights of {model.reference} have no classification head; choose a classifier, "
            "or add --random-weights to try the architecture"
        )
    if (channels, classes) != native:
        plain = model.name.partition(".")[0]
        raise TeacherError(
            f"the weights of {model.reference} are for {native[0]} channels and {native[1]} "
            f"classes, not for {channels} and {classes}; leave --input-size and --num-classes out, "
            f"give a checkpoint file with --arch {plain}, or add --random-weights"
        )
    return native


def build_sized(
    name: str,
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],
    config: TeacherConfig,
    defaults: Mapping[str, Any],
    seed: int = 0,
    trained: _Model | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Builds a network for images of `size` (height, width), with the arguments that took.

    Networks with a fixed input, such as ViTs, are told the size as `img_size` where it is not
    their own; those that take any size refuse that argument, and are built without.
    """
    arguments = dict(config.arguments)
    how = partial(_build_trained, trained) if trained else partial(_build, name)
    build = partial(how, channels=channels, classes=classes, seed=seed)
    if size == tuple(defaults.get("input_size", ()))[1:] or "img_size" in arguments:
        return build(arguments=arguments), arguments
    sized = {**arguments, "img_size": size[0] if size[0] == size[1] else list(size)}
    try:
        return build(arguments=sized), sized
    except UsageMistake as error:
        if not isinstance(error.__cause__, TypeError) or "img_size" not in str(error.__cause__):
            raise
    return build(arguments=arguments), arguments


def _build(
    name: str, *, channels: int, classes: int, arguments: Mapping[str, Any], seed: int
) -> nn.Module:
    plain = name.partition(".")[0]
    return build_network(plain, channels=channels, classes=classes, arguments=arguments, seed=seed)


def _build_trained(
    model: _Model, *, channels: int, classes: int, arguments: Mapping[str, Any], seed: int
) -> nn.Module:
    place = {"pretrained_cfg": model.defaults} if model.elsewhere else {}
    try:
        with never_hanging():
            return build_network(
                model.name,
                channels=channels,
                classes=classes,
                arguments={**arguments, **place},
                seed=seed,
                pretrained=True,
            )
    except Exception as error:  # the clients of three protocols, each with errors of its own
        cause = error.__cause__ or error
        # timm's own files are as they should be: what it refuses there is a wrong request.
        faulty = isinstance(cause, OSError) or (
            model.elsewhere and not isinstance(cause, (TypeError, CakeEdgeError))
        )
        if isinstance(error, CakeEdgeError) and not faulty:
            raise
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise TeacherError(
            f"the weights of {model.reference} could not be had ({reason}). Connect to the network "
            f"once, give a checkpoint file with --teacher FILE --arch "
            f"{model.name.partition('.')[0]}, or add --random-weights to go on without trained ones"
        ) from error
