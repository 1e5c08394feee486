"""A teacher from an ONNX file, whoever wrote it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from onnx.external_data_helper import uses_external_data

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.onnx_file import read_model
from cake_edge.onnx_network import network_from_onnx
from cake_edge.provenance import sha256_file, sha256_json
from cake_edge.spec import ImageSpec
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.network import Port, teacher_from_network
from cake_edge.teachers.onnx_check import check_against_runtime
from cake_edge.teachers.onnx_metadata import stated_by_metadata
from cake_edge.teachers.onnx_port import answer_name, image_input, image_port
from cake_edge.teachers.onnx_tail import Tail, cut_tail
from cake_edge.teachers.stated import Stated

__all__ = ["load_onnx_teacher"]

logger = logging.getLogger(__name__)

OLDEST = 9
"""The lowest opset that is read; the oldest that exporters of classifiers still wrote in 2020."""
CARD = "cake_edge"
"""Under this key our own files say what they are."""
CARD_ORIGIN = "the file's card"


def load_onnx_teacher(path: Path, config: TeacherConfig) -> FrozenTeacher:
    """Returns the classifier in an ONNX file as a teacher, on the CPU, checked against the runtime.

    A softmax or sigmoid at its end is taken off, and what the file's metadata says of images and
    classes is believed where the options are silent.

    Raises:
        UsageMistake: an option does not go with the file, or contradicts it.
        ArtifactError: it is no readable ONNX file.
        TeacherError: it is no classifier of images, cannot be computed here, or ONNX Runtime gives
            other logits.
        NumericsError: it answers a mid-grey image with NaN or infinity.
    """
    _refuse_options(path, config)
    model = read_model(path, oldest=OLDEST)
    what = path.name
    entry = image_input(model, what)
    port = image_port(entry, what)
    answer = answer_name(model, what)
    card = _card(model, what)
    _agree(what, config, card)
    tail = cut_tail(model, answer)
    stated = _stated(model, tail, port, config, card)
    network = network_from_onnx(tail.model)
    teacher = teacher_from_network(
        network,
        config,
        stated,
        port,
        architecture="onnx",
        arguments={"sha256": _digest(path)},
        source=what,
    )
    if card is not None and card.source_classes is not None:
        teacher = _with_selection(teacher, card.source_classes)
    difference = check_against_runtime(
        network, tail.model, path,
        answer=answer, removed=tail.removed, spec=teacher.spec, port=port,
    )  # fmt: skip
    if port.height and not config.input_size:
        teacher.origins["input size"] = "the graph's input"
    notes = _notes(network.batch_norm_count, tail, difference)
    teacher.origins.update(notes)
    for about, said in notes.items():
        logger.info("%s: %s: %s", what, about, said)
    return teacher


def _refuse_options(path: Path, config: TeacherConfig) -> None:
    given = {
        "--arch": config.arch is not None,
        "--match": config.match != "name",
        "--random-weights": config.random_weights,
        "--arguments": bool(config.arguments),
    }
    for option, used in given.items():
        if used:
            raise UsageMistake(
                f"{option} goes with weights that need a network; {path} is an ONNX file and "
                "brings its own. Leave it out"
            )


def _card(model: ModelProto, what: str) -> ImageSpec | None:
    """What one of our own files says of itself."""
    text = _metadata(model).get(CARD)
    if text is None:
        return None
    try:
        values = json.loads(text)
        return ImageSpec.from_dict(values if isinstance(values, Mapping) else {})
    except (ValueError, RecursionError, UsageMistake) as error:
        raise TeacherError(
            f"the {CARD!r} metadata of {what} is damaged; export the model again"
        ) from error


def _metadata(model: ModelProto) -> dict[str, str]:
    """Keys and values that are text; protobuf gives bytes where they are not."""
    pairs = [(entry.key, entry.value) for entry in model.metadata_props]
    return {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, str)}


def _agree(what: str, config: TeacherConfig, card: ImageSpec | None) -> None:
    """Refuses options that contradict a card."""
    if card is None:
        return
    pairs: dict[str, tuple[Any, Any]] = {
        "--input-size": (config.input_size, card.input_size),
        "--mean": (config.mean, card.mean),
        "--std": (config.std, card.std),
        "--value-range": (config.value_range, None),
        "--preset": (config.preset, None),
        "--colour": (config.colour, card.colour),
        "--head": (config.head, card.head),
    }
    for option, (asked, said) in pairs.items():
        if asked is not None and asked != said:
            raise UsageMistake(
                f"{what} says of itself what {option} {asked} contradicts"
                f"{f' ({said})' if said is not None else ''}; leave {option} out"
            )


def _stated(
    model: ModelProto, tail: Tail, port: Port, config: TeacherConfig, card: ImageSpec | None
) -> Stated:
    """Everything the file says, fitted to its channels."""
    if card is not None:
        return Stated(
            origin=CARD_ORIGIN,
            size=(card.height, card.width),
            mean=card.mean,
            std=card.std,
            colour=card.colour,
            labels=card.labels,
            crop=card.crop,
            interpolation=card.interpolation,
            head=card.head,
            logits=True,
        )
    stated = stated_by_metadata(_metadata(model))
    channels = port.channels or (config.input_size[0] if config.input_size else None)
    if channels is None and stated.colour is not None:
        channels = 3
    return dataclasses.replace(
        stated,
        mean=_every(stated.mean, channels),
        std=_every(stated.std, channels),
        colour=stated.colour if channels == 3 else None,
        head="sigmoid" if tail.removed == "sigmoid" else stated.head,
        logits=tail.removed is not None,
    )


def _every(values: tuple[float, ...] | None, channels: int | None) -> tuple[float, ...] | None:
    """One value a channel; None where it is not known how many there are."""
    if values is None or len(values) > 1:
        return values
    return values * channels if channels else None


def _with_selection(teacher: FrozenTeacher, chosen: tuple[int, ...]) -> FrozenTeacher:
    """The teacher, whose file says which classes of another classifier its own are."""
    return FrozenTeacher(
        teacher.network,
        dataclasses.replace(teacher.spec, source_classes=chosen),
        architecture=teacher.architecture,
        arguments=teacher.arguments,
        source=teacher.source,
        origins=teacher.origins,
    )


def _notes(batch_norms: int, tail: Tail, difference: float) -> dict[str, str]:
    """What was seen of the graph, for a person to judge."""
    notes = {
        "ONNX Runtime": f"logits differ by {difference:.1e} of the largest at most",
        "normalisation layers": (
            f"{batch_norms} BatchNorm in the graph"
            if batch_norms
            else "no BatchNorm in the graph, folded away or never there: samplers that match its "
            "statistics lose those terms"
        ),
    }
    if tail.removed is not None:
        notes["logits"] = f"taken before the {tail.removed} at the end of the graph"
    return notes


def _digest(path: Path) -> str:
    """SHA-256 of the file, or, where weights lie beside it, of all files together."""
    stub = onnx.load(path, load_external_data=False)
    beside = {
        entry.value
        for tensor in stub.graph.initializer
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    whole = sha256_file(path)
    if not beside:
        return whole
    return sha256_json([whole, *(sha256_file(path.parent / name) for name in sorted(beside))])
