"""What decides whether a quantized file is worth shipping: its classes, and its speed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.errors import GateFailed
from exporters.latency.harness import LatencyConfig, measure, paired_ratio, random_images
from exporters.parity import ParityReport
from exporters.quantize.config import QuantizeConfig, Speed
from exporters.quantize.dialect import Dialect
from exporters.quantize.weight_only import WeightOnly
from exporters.runtimes.ort import OrtSession
from exporters.runtimes.reasons import PRODUCT

__all__ = ["advice", "hold", "hold_size", "paired_speed", "runs_here"]

MACHINES = {"x86": ("x86_64", "amd64", "AMD64"), "arm": ("aarch64", "arm64", "ARM64")}


def runs_here(dialect: Dialect | WeightOnly) -> bool:
    """Whether the target's runtime and processor are those of this machine."""
    if dialect.processor == "any":
        return True
    return dialect.runtime == "ort" and platform.machine() in MACHINES.get(dialect.processor, ())


def paired_speed(before: Path, after: Path, size: tuple[int, ...], seconds: float) -> Speed:
    """Times two files in turns, one image and one thread; returns how much faster `after` is."""
    config = LatencyConfig(
        warmup_seconds=min(0.2, seconds), min_seconds=seconds, min_count=20,
        max_seconds=max(10.0, 4 * seconds),
    )  # fmt: skip
    images = random_images(size, config)
    with OrtSession(before, fixed_batch=1) as one, OrtSession(after, fixed_batch=1) as two:
        first, second = measure([one, two], [images, images], config)
    ratio = paired_ratio(first, second)
    return Speed(estimate=ratio.estimate, low=ratio.low, high=ratio.high)


def hold(parity: ParityReport, speed: Speed | None, config: QuantizeConfig, *, head: str) -> None:
    """Refuses a file that is over its budget.

    Args:
        parity: with the float model.
        speed: likewise; None where it was not measured.
        config: the budget.
        head: what logits mean, as in `ImageSpec.head`.

    Raises:
        GateFailed: it names other classes more often, or is slower, than `config` allows.
    """
    if not config.allows(parity.top1_agreement):
        differs, share = "names another class", f"{1 - parity.top1_agreement:.1%} of"
        if head == "sigmoid":
            differs, share = "decides otherwise", f"{share} all labels of"
        raise GateFailed(
            f"INT8 {differs} than the float model on {share} "
            f"{parity.n} images kept apart, more than the {config.max_agreement_drop:.1%} allowed; "
            "nothing was written. Give more images, allow more, or ship the float model"
        )
    if speed is not None and speed.slower and config.when_slower == "refuse":
        raise GateFailed(
            f"the quantized model runs at {speed.estimate:.2f} times the float model's speed "
            f"(95 % interval {speed.low:.2f} to {speed.high:.2f}) on this machine; nothing was "
            "written. Ship the float model; or keep the file all the same, for its size, with "
            "--keep-slower (when_slower=keep)"
        )


def hold_size(size: int, config: QuantizeConfig) -> None:
    """Refuses a file that is larger than asked for.

    Raises:
        GateFailed: it is.
    """
    if config.target_bytes is not None and size > config.target_bytes:
        raise GateFailed(
            f"the file would have {size} bytes with its metadata, more than the "
            f"{config.target_bytes} asked for, with every weight in 4 bits that may be; nothing "
            "was written. Allow more, or distil a smaller student"
        )


def advice(
    dialect: Dialect | WeightOnly,
    speed: Speed | None,
    coverage: Mapping[str, Any],
    config: QuantizeConfig,
) -> tuple[str, ...]:
    """Returns what a user of the file should know before shipping it."""
    said = []
    if speed is not None and speed.slower:
        said.append(
            f"slower than the float model here ({speed.estimate:.2f} times its speed): ship the "
            "float file, unless size alone counts"
        )
    if not runs_here(dialect):
        said.append(
            f"{dialect.name} does not run on this machine: accuracy was measured with the values "
            "rounded in float, and speed not at all; measure on the device"
        )
    elif config.latency_seconds == 0:
        said.append("speed was not measured (latency_seconds=0)")
    if dialect.runtime == "tensorrt" and dialect.body == "float32":
        said.append(
            "a strongly typed builder (TensorRT 11) computes what is not quantized in float32; "
            "for float16 there, use --target tensorrt-fp16"
        )
    # A product of two activations is left in float by choice: there is no weight in it.
    reasons = coverage["reasons"]
    left = [name for name in coverage["left_float"] if reasons.get(name) != PRODUCT]
    if runs_here(dialect) and left:
        said.append(
            f"{len(left)} operators with weights run in float; the report's coverage names them"
        )
    return tuple(said)
