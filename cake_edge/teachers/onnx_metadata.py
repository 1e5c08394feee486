"""What the metadata of an ONNX file says of images and classes, by the keys that exporters write.

Known are: ONNX's own image metadata (`Image.BitmapPixelFormat`, `Image.NominalPixelRange`), which
Custom Vision and WinML use; Ultralytics (`names`, `imgsz`, `task`); OpenVINO's Model API
(`model_info mean_values`, ...); PaddleOCR and its descendants (`character`); and the plain words
`labels`, `classes`, `mean`, `std`, `colour`. A value that cannot be read is passed over with a
warning: it may come from anyone, and is never run.
"""

from __future__ import annotations

import ast
import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Any

from cake_edge.teachers.stated import Stated

__all__ = ["ORIGIN", "stated_by_metadata"]

logger = logging.getLogger(__name__)

ORIGIN = "the file's metadata"
LONGEST = 2**22
"""Characters of a value that is looked at; ImageNet-22k's names take a tenth of it."""

LARGEST = 2**13
"""Rows or columns of an image that are believed."""

LABELS = ("names", "labels", "classes", "class_names", "id2label", "character", "model_info labels")
MEANS = ("mean", "image_mean", "pixel_mean", "input_mean", "standardization_mean")
STDS = ("std", "image_std", "pixel_std", "input_std", "standardization_std")
VALUES = ("model_info mean_values", "model_info scale_values")
COLOURS = ("image.bitmappixelformat", "colour", "color", "color_format", "channel_order")
SIZES = ("imgsz", "input_size", "image_size")

RANGES = {
    "nominalrange_0_255": (0.0, 1 / 255),
    "normalized_0_1": (0.0, 1.0),
    "normalized_1_1": (0.5, 0.5),
    "nominalrange_16_235": (-16 / 219, 1 / 219),
}
"""Mean and std, of pixels in [0, 1], that give what `Image.NominalPixelRange` names."""

# A list or a mapping of strings and numbers, none inside another: nothing that nests can exhaust
# Python's parser, and one character has one way to match.
LITERAL = re.compile(
    r"""\s*[\[({](?:[\s\d:,.+-]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")*[\])}]\s*""", re.DOTALL
)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
FOLDED = 2.0
"""No mean or deviation of pixels in [0, 1] is above it: then they are of pixels in [0, 255]."""


def stated_by_metadata(metadata: Mapping[str, str]) -> Stated:
    """Returns what is said; whatever is not, or cannot be read, is None."""
    said = {key.strip().lower(): text[:LONGEST] for key, text in metadata.items()}
    mean, std = _pixels(said)
    colour = _colour(said)
    if mean is None and _is_ultralytics(said):
        # Its own loader divides by 255 and does nothing else.
        mean, std, colour = (0.0,), (1.0,), colour or "rgb"
    return Stated(
        origin=ORIGIN,
        size=_size(said),
        mean=mean,
        std=std,
        colour=colour,
        labels=_labels(said),
        head="sigmoid" if said.get("model_info multilabel", "").lower() == "true" else None,
    )


def _is_ultralytics(said: Mapping[str, str]) -> bool:
    return said.get("author", "").lower() == "ultralytics" and said.get("task") == "classify"


def _labels(said: Mapping[str, str]) -> tuple[str, ...] | None:
    for key in LABELS:
        text = said.get(key, "").strip()
        if not text:
            continue
        found = _names(_value(text))
        if found is None and text[0] not in "[{(":
            # Model API joins them with spaces, and puts _ where a name had one.
            spaced = key.startswith("model_info ")
            lines = text.split() if spaced else text.split("\n" if "\n" in text else ",")
            found = tuple(lines)
        if found is not None and len(found) > 1:
            return tuple(map(_printable, found))
        logger.warning("%s: %r holds no list of class names; it is passed over", ORIGIN, key)
    return None


def _value(text: str) -> Any:
    """JSON, or a Python literal, as a value; None of anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if LITERAL.fullmatch(text) is None:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...] | None:
    """Class names of a list, of {index: name}, or of {name: index}; None of anything else."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if pairs and all(isinstance(v, int) and isinstance(k, str) for k, v in pairs):
            pairs = [(index, name) for name, index in pairs]
        byindex = {str(index): name for index, name in pairs}
        if set(byindex) != {str(index) for index in range(len(byindex))}:
            return None
        value = [byindex[str(index)] for index in range(len(byindex))]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, (str, int)) for v in value):
        return None
    return tuple(str(name) for name in value)


def _printable(name: str) -> str:
    """Nothing that a terminal would take for a command."""
    return "".join(letter for letter in name if letter.isprintable()).strip()


def _pixels(said: Mapping[str, str]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and std of pixels in [0, 1]; both, or neither."""
    range_key = "image.nominalpixelrange"
    for mean_key, std_key in (*zip(MEANS, STDS, strict=True), VALUES):
        if mean_key not in said and std_key not in said:
            continue
        mean, std = _numbers(said.get(mean_key, "")), _numbers(said.get(std_key, ""))
        if not mean or not std or min(std) <= 0:
            logger.warning(
                "%s: %r and %r are no mean and deviation; they are passed over",
                ORIGIN, mean_key, std_key,
            )  # fmt: skip
            continue
        folded = max(*(abs(value) for value in mean), *std) > FOLDED or mean_key in VALUES
        scale = 255.0 if folded else 1.0
        return tuple(m / scale for m in mean), tuple(s / scale for s in std)
    if range_key in said:
        known = RANGES.get(said[range_key].strip().lower())
        if known is not None:
            return (known[0],), (known[1],)
        logger.warning("%s: %r is unknown; it is passed over", ORIGIN, said[range_key][:40])
    return None, None


def _numbers(text: str) -> list[float]:
    """The numbers of a short text; none where there is anything but numbers and separators."""
    if len(text) > 400 or re.fullmatch(r"[\s\[\](),]*", NUMBER.sub("", text)) is None:
        return []
    values = [float(part) for part in NUMBER.findall(text)]
    return values if all(map(math.isfinite, values)) else []


def _colour(said: Mapping[str, str]) -> str | None:
    for key in COLOURS:
        found = re.match(r"rgb|bgr", said.get(key, "").strip().lower())
        if found:
            return found[0]
    # Model API shows BGR, and turns it round for a model that wants RGB.
    turned = said.get("model_info reverse_input_channels", "").strip().lower()
    return {"true": "rgb", "false": "bgr"}.get(turned)


def _size(said: Mapping[str, str]) -> tuple[int, int] | None:
    for key in SIZES:
        values = _numbers(said.get(key, ""))
        if len(values) in (2, 3) and all(v == int(v) and 1 <= v <= LARGEST for v in values):
            return int(values[-2]), int(values[-1])
    return None
