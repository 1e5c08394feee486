"""A teacher from any network: what its images are, and what its answer means, is found out here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.seeding import generator
from cake_edge.teachers.adapters import (
    ChannelsLast,
    FixedBatch,
    LogitsOf,
    LogitsOfProbabilities,
    LogitsOfShares,
    TwoLogits,
    plain_answer,
)
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.one_logit import one_as_two
from cake_edge.teachers.preprocessing import image_spec
from cake_edge.teachers.stated import Stated

__all__ = ["Port", "port_of", "teacher_from_network"]

logger = logging.getLogger(__name__)

PROBES = 8
"""Images that show what an answer is: enough for a plain logit to leave [0, 1] once."""
BATCHES = (PROBES, 1)
"""Numbers of images to try on a network that does not say how many it takes."""
COLOURS = (1, 3)
"""Numbers of channels by which the axis of the channels is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """How a network takes its images; None wherever it takes any."""

    batch: int | None = None
    """The one number of images it takes."""
    channels: int | None = None
    """Colour channels."""
    height: int | None = None
    """Rows, in pixels."""
    width: int | None = None
    """Columns, in pixels."""
    channels_last: bool = False
    """Whether it takes [N, H, W, C]."""


def port_of(shape: tuple[int | None, ...], what: str) -> Port:
    """Returns the port of an input's shape, [N, C, H, W] or [N, H, W, C], None for a free axis.

    Raises:
        TeacherError: it has not four axes.
    """
    if len(shape) != 4:
        raise TeacherError(
            f"{what} takes an input of shape {[size or '?' for size in shape]}; a classifier of "
            "images takes [N, C, H, W] or [N, H, W, C]"
        )
    batch, *sizes = shape
    if sizes[2] in COLOURS and sizes[0] not in COLOURS:
        height, width, channels = sizes
        return Port(batch=batch, channels=channels, height=height, width=width, channels_last=True)
    channels, height, width = sizes
    return Port(batch=batch, channels=channels, height=height, width=width)


def teacher_from_network(
    network: nn.Module,
    config: TeacherConfig,
    stated: Stated,
    port: Port,
    *,
    architecture: str,
    arguments: Mapping[str, Any] | None = None,
    source: str,
) -> FrozenTeacher:
    """Returns a network as a teacher, on the CPU, behind the adapters it needs.

    Args:
        network: takes images as `port` says, and answers with logits, probabilities, or something
            that holds them.
        config: what a person said.
        stated: what the file says of images and classes.
        port: what the file says of the input's shape.
        architecture: how it came: "onnx", "torch.export", "torchscript", or the factory's name.
        arguments: what tells it from other networks with the same weights.
        source: a line for the manifest.

    Raises:
        TeacherError: size, mean or std are not known, or it is no classifier of such images.
        UsageMistake: what was said contradicts the file.
        NumericsError: it answers with NaN or infinity.
    """
    size = _size(config, stated, port, source)
    if port.channels_last:
        network = ChannelsLast(network)
    network = _any_batch(network.eval(), size, port.batch, source)
    answer = _answer(network, size, PROBES)
    network, head = _logits(network, answer, config, known=stated.logits)
    config, stated, classes = one_as_two(config, stated, answer.shape[1])
    if config.num_classes not in (None, answer.shape[1], classes):
        raise TeacherError(
            f"{source} tells {classes} classes apart, but --num-classes asks for "
            f"{config.num_classes}; leave it out, or give {classes}"
        )
    sized = _with_size(stated, port, size)
    spec, origins = image_spec(config, sized, channels=size[0], classes=classes, head=head)
    return FrozenTeacher(
        network,
        spec,
        architecture=architecture,
        arguments=arguments,
        source=source,
        origins={"classes": "the length of its answer", **origins},
    )


def _size(config: TeacherConfig, stated: Stated, port: Port, source: str) -> tuple[int, int, int]:
    """(channels, height, width) of the images; what is said must agree."""
    height, width = stated.size or (None, None)
    said = (port.channels, port.height or height, port.width or width)
    asked: tuple[int | None, ...] = config.input_size or (None, None, None)
    fixed = (port.channels, port.height, port.width)
    if any(a is not None and f is not None and a != f for a, f in zip(asked, fixed, strict=True)):
        raise UsageMistake(
            f"{source} takes images of [C, H, W] = {[f or 'any' for f in fixed]}, but "
            f"--input-size asks for {list(asked)}; leave it out"
        )
    channels, height, width = (a or s for a, s in zip(asked, said, strict=True))
    if channels is None and height and width and (config.mean or stated.mean):
        channels = len(config.mean or stated.mean or ())
    if channels is None or height is None or width is None:
        raise TeacherError(
            f"{source} does not say for images of which size it is (channels, height and width: "
            f"{channels or '?'}, {height or '?'}, {width or '?'}); give --input-size C,H,W"
        )
    return channels, height, width


def _with_size(stated: Stated, port: Port, size: tuple[int, int, int]) -> Stated:
    """`stated`, with the size that the network itself tells where nothing else does."""
    if port.height is None and port.width is None:
        return stated
    return replace(stated, size=size[1:])


def _images(size: tuple[int, int, int], count: int) -> torch.Tensor:
    """Noise at several strengths: what makes a logit leave [0, 1] if anything does."""
    random = generator(0, "probe")
    noise = torch.randn((count, *size), generator=random)
    return noise * torch.linspace(0.5, 3.0, count).reshape(-1, 1, 1, 1)


def _answer(network: nn.Module, size: tuple[int, int, int], count: int) -> torch.Tensor:
    with torch.no_grad():
        answer = plain_answer(network(_images(size, count)))
    if len(answer) != count:
        raise TeacherError(
            f"the teacher answers {count} images with {len(answer)} rows; it is no classifier"
        )
    return answer.float()


def _any_batch(
    network: nn.Module, size: tuple[int, int, int], batch: int | None, source: str
) -> nn.Module:
    """Makes the network take any number of images, and answer with a plain tensor."""
    reasons = []
    for count in (batch,) if batch else BATCHES:
        try:
            with torch.no_grad():
                raw = network(_images(size, count))
            fits = len(plain_answer(raw)) == count
        except CakeEdgeError:
            raise
        except Exception as error:  # noqa: BLE001  # a vendor's forward can raise anything
            reasons.append((str(error).strip().splitlines() or [type(error).__name__])[0])
            continue
        if not fits:
            reasons.append(f"{count} images give {len(plain_answer(raw))} answers")
            continue
        if count == PROBES and batch is None:
            simple = isinstance(raw, torch.Tensor) and raw.ndim == 2
            return network if simple else LogitsOf(network)
        logger.info(
            "%s takes %d images at a time; more are shown one part after another", source, count
        )
        return FixedBatch(network, count)
    raise TeacherError(
        f"{source} does not accept images of shape {list(size)}: {reasons[0]}; "
        "if they have another size, give it with --input-size C,H,W"
    )


def _logits(
    network: nn.Module, answer: torch.Tensor, config: TeacherConfig, *, known: bool
) -> tuple[nn.Module, str]:
    """Undoes what the network does to its logits; returns it with what the logits mean.

    Few images can all give logits in [0, 1]; where its answer is `known` to be logits it is one.
    """
    shares = not known and bool((answer >= 0).all() and (answer <= 1).all())
    if answer.shape[1] == 1:
        return TwoLogits(LogitsOfShares(network) if shares else network), "softmax"
    if not shares:
        return network, "softmax"
    sums_to_one = torch.allclose(answer.sum(dim=1), torch.ones(len(answer)), atol=1e-3)
    if sums_to_one and config.head != "sigmoid":
        logger.info("its answer is a softmax's; its logarithm stands for the logits")
        return LogitsOfProbabilities(network), "softmax"
    if config.head == "softmax":
        logger.info("its answer lies in [0, 1] and is no softmax's; it is taken for the logits")
        return network, "softmax"
    logger.info("its answer is a sigmoid's; what went into it stands for the logits")
    return LogitsOfShares(network), "sigmoid"
