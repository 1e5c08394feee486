"""The steps of weight-only quantization, in order: no ranges, the same checks and the same gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import atomic_path, sha256_file
from exporters.quantize import gate
from exporters.quantize.config import QuantizeConfig, QuantizeReport
from exporters.quantize.feed import Feed
from exporters.quantize.files import account_of, card_of, check_ports, parity_of, serialised
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.judge import Judge, Score
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.weight_only import WeightOnly
from exporters.quantize.weight_only.matmul import (
    as_products,
    product_share,
    products,
    write_blocks,
)
from exporters.runtimes.coverage import coverage

__all__ = ["run"]

LEAST_SHARE = 0.5
"""Of the weights; below it, what stays float decides size and speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to round the weights."""

    name: str
    """"symmetric" or "asymmetric"."""
    model: onnx.ModelProto
    """With MatMulNBits."""
    score: Score
    """Distance from the float model."""


def run(
    model: Path,
    out: Path,
    images: Callable[[], Iterator[npt.NDArray[np.float32]]],
    *,
    target: WeightOnly,
    config: QuantizeConfig,
) -> QuantizeReport:
    """Rounds the weights of `model` into `out`; `exporters.quantize.quantize` says the rest."""
    _check_bits(target, config)
    float_model = read_float_model(model)
    card = card_of(float_model, model)
    check_ports(model, card)
    ready = as_products(prepare(float_model))
    _require_products(ready, target)
    feed = Feed(images, card.spec, config.images)
    tried = _candidates(ready, target, feed)
    best = min(tried, key=lambda one: one.score.divergence)
    with atomic_path(out) as temporary:
        # Twice: the figures that go into the card are measured on the file as it runs.
        temporary.write_bytes(serialised(best.model, card))
        report = _report(model, temporary, ready, tried, feed, target, config)
        gate.hold(report.parity, report.speed, config, head=card.spec.head)
        account = account_of(report)
        finished = replace(
            card,
            precision=target.precision,
            target=target.name,
            parent=sha256_file(model),
            manifest={**card.manifest, "quantization": account | {"weights": asdict(target)}},
        )
        temporary.write_bytes(serialised(best.model, finished))
        size = temporary.stat().st_size
        gate.hold_size(size, config)
        return replace(report, path=out, bytes=size)


def _check_bits(target: WeightOnly, config: QuantizeConfig) -> None:
    if config.weight_bits == 4 and target.bits != 4:
        raise UsageMistake(
            f"weight_bits is 4, and {target.name} has weights of {target.bits} bits; "
            "give --target ort-w4"
        )


def _require_products(ready: onnx.ModelProto, target: WeightOnly) -> None:
    share = product_share(ready)
    if share < LEAST_SHARE:
        raise ArtifactError(
            f"{share:.0%} of the model's weights are in matrix products, and {target.name} leaves "
            "convolutions in float: it would gain next to nothing; use --target ort-x86, or "
            "ort-arm, which quantize convolutions"
        )


def _candidates(ready: onnx.ModelProto, target: WeightOnly, feed: Feed) -> list[Candidate]:
    judge = Judge(ready, feed.judging(), ORT_X86, head=feed.spec.head)
    models = {
        name: write_blocks(ready, target, symmetric=name == "symmetric")
        for name in ("symmetric", "asymmetric")
    }
    return [
        Candidate(name=name, model=each, score=judge.score(each)) for name, each in models.items()
    ]


def _report(
    model: Path,
    written: Path,
    ready: onnx.ModelProto,
    tried: list[Candidate],
    feed: Feed,
    target: WeightOnly,
    config: QuantizeConfig,
) -> QuantizeReport:
    speed = None
    if config.latency_seconds > 0:
        speed = gate.paired_speed(model, written, feed.spec.input_size, config.latency_seconds)
    covered = coverage(written)
    names = tuple(node.name for node in products(ready))
    return QuantizeReport(
        path=written,
        target=target.name,
        calibration_images=feed.calibration_images,
        checked_images=feed.checked_images,
        parity=parity_of(model, written, feed, fused=True),
        coverage=covered,
        ranges="none",
        methods={},
        bias_correction=False,
        steps=(),
        left_float=(),
        four_bit=names if target.bits == 4 else (),
        divergence={one.name: one.score.divergence for one in tried},
        sensitivity={},
        speed=speed,
        verdict="float" if speed is not None and speed.slower else "quantized",
        advice=gate.advice(target, speed, covered, config),
        bytes=written.stat().st_size,
    )
