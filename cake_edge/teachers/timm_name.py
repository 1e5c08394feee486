"""A teacher by timm's name, with timm's weights or with random ones."""

from __future__ import annotations

import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from huggingface_hub import constants
from torch import nn

from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.networks import build_network, check_architecture
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.preprocessing import image_spec
from cake_edge.teachers.stated import stated_by_timm

__all__ = ["build_sized", "load_timm"]

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds to wait for a sign of life before weights are looked for in the cache alone."""


def load_timm(name: str, config: TeacherConfig, *, seed: int = 0) -> FrozenTeacher:
    """Returns the teacher `name`, tag included, on the CPU.

    Raises:
        UsageMistake: timm does not know the name, or an option does not go with it.
        TeacherError: the weights cannot be fetched, or have other classes or channels.
    """
    if config.arch is not None or config.match != "name":
        raise UsageMistake(
            f"--arch and --match are for checkpoint files; timm:{name} says all of it by its name"
        )
    check_architecture(name)
    stated, defaults = stated_by_timm(name, trusted=True)
    channels, classes = _sizes(name, config, defaults)
    spec, origins = image_spec(config, stated, channels=channels, classes=classes)
    if config.random_weights:
        logger.info("timm:%s with random weights, seed %d", name, seed)
    network, arguments = build_sized(
        name,
        channels=channels,
        classes=classes,
        size=(spec.height, spec.width),
        config=config,
        defaults=defaults,
        seed=seed,
        pretrained=not config.random_weights,
    )
    return FrozenTeacher(
        network,
        spec,
        architecture=name.partition(".")[0],
        arguments=arguments,
        source=f"timm:{name}" + (f" with random weights {seed}" if config.random_weights else ""),
        origins={"classes": stated.origin, **origins},
    )


def _sizes(name: str, config: TeacherConfig, defaults: Mapping[str, Any]) -> tuple[int, int]:
    """Channels and classes: as asked for with random weights, as trained with timm's."""
    native = (defaults.get("input_size") or (3, 224, 224))[0], defaults.get("num_classes", 1000)
    channels = config.input_size[0] if config.input_size else native[0]
    classes = config.num_classes if config.num_classes is not None else native[1]
    if config.random_weights:
        return channels, classes or 1000
    if not native[1]:
        raise TeacherError(
            f"timm's weights of {name} have no classification head; choose a classifier, "
            "or add --random-weights to try the architecture"
        )
    if (channels, classes) != native:
        raise TeacherError(
            f"timm's weights of {name} are for {native[0]} channels and {native[1]} classes, not "
            f"for {channels} and {classes}; leave --input-size and --num-classes out, give a "
            f"checkpoint file with --arch {name.partition('.')[0]}, or add --random-weights"
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
    pretrained: bool = False,
) -> tuple[nn.Module, dict[str, Any]]:
    """Builds a network for images of `size` (height, width), with the arguments that took.

    Networks with a fixed input, such as ViTs, are told the size as `img_size` where it is not
    their own; those that take any size refuse that argument, and are built without.
    """
    arguments = dict(config.arguments)
    build = partial(
        _build_trained if pretrained else _build,
        name,
        channels=channels,
        classes=classes,
        seed=seed,
    )
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
    name: str, *, channels: int, classes: int, arguments: Mapping[str, Any], seed: int
) -> nn.Module:
    try:
        with _never_hanging():
            return build_network(
                name,
                channels=channels,
                classes=classes,
                arguments=arguments,
                seed=seed,
                pretrained=True,
            )
    except Exception as error:  # the clients of three protocols, each with errors of its own
        fetching = isinstance(error.__cause__, OSError)
        if isinstance(error, CakeEdgeError) and not fetching:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TeacherError(
            f"the weights of timm:{name} could not be had ({reason}). Connect to the network once, "
            f"give a checkpoint file with --teacher FILE --arch {name.partition('.')[0]}, or add "
            "--random-weights to go on without trained ones"
        ) from error


@contextmanager
def _never_hanging() -> Iterator[None]:
    """Lets a fetch use the local cache alone where the network does not answer."""
    offline, timeout = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
    socket.setdefaulttimeout(timeout or 4 * PATIENCE)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(timeout)


def _answers(address: str) -> bool:
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (OSError, ValueError):
        return False
    return True
