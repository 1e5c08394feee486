"""The steps of quantization, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cake_edge.errors import UsageMistake
from cake_edge.provenance import atomic_path, canonical_json, sha256_file
from exporters.quantize import gate
from exporters.quantize.config import QuantizeConfig, QuantizeReport
from exporters.quantize.dialect import Dialect
from exporters.quantize.feed import Feed
from exporters.quantize.files import (
    account_of,
    card_of,
    check_ports,
    parity_of,
    serialised,
)
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.insert import weighted_nodes
from exporters.quantize.noise import require_structure
from exporters.quantize.removed import removed_activations
from exporters.quantize.search import Candidate, Search
from exporters.quantize.sensitivity import hold_agreement, meet_size, savings
from exporters.quantize.table import table_to_dict
from exporters.runtimes.coverage import coverage, written_coverage

__all__ = ["run"]

Images = npt.NDArray[np.float32]

METADATA_BYTES = 4096
"""Room for what the card says beside the range table, and"""
METADATA_BYTES_A_NODE = 256
"""of each node."""


def run(
    model: Path,
    out: Path,
    images: Callable[[], Iterator[Images]],
    *,
    dialect: Dialect,
    dialects: tuple[Dialect, ...],
    config: QuantizeConfig,
) -> QuantizeReport:
    """Quantizes `model` into `out` in one dialect; `exporters.quantize.quantize` says the rest."""
    if dialect.runtime == "tensorrt" and (config.weight_bits == 4 or config.target_bytes):
        raise UsageMistake(
            f"{dialect.name} takes no 4-bit weights: TensorRT refuses them in convolutions and "
            "widens them in products; leave weight_bits and target_bytes out, or choose an ort "
            "target"
        )
    float_model = read_float_model(model)
    card = card_of(float_model, model)
    check_ports(model, card)
    feed = Feed(images, card.spec, config.images)
    require_structure(feed, allowed=config.allow_noise)
    search = Search(prepare(float_model), dialect, dialects, feed)
    best, sensitivity = _find(search, config)
    with atomic_path(out) as temporary:
        # Twice: the figures that go into the card are measured on the file as it runs.
        temporary.write_bytes(serialised(best.model, card))
        report = _report(model, temporary, best, search, sensitivity, config)
        gate.hold(report.parity, report.speed, config, head=card.spec.head)
        account = account_of(report) | {
            "table": table_to_dict(best.ranges),
            "activations": removed_activations(best.source, best.model),
        }
        finished = replace(
            card,
            precision="int8",
            target=dialect.name,
            parent=sha256_file(model),
            manifest={**card.manifest, "quantization": account},
        )
        temporary.write_bytes(serialised(best.model, finished))
        size = temporary.stat().st_size
        gate.hold_size(size, config)
        return replace(report, path=out, bytes=size)


def _find(search: Search, config: QuantizeConfig) -> tuple[Candidate, Mapping[str, float]]:
    """The candidate to write, and by node what leaving it in float would save."""
    search.ranges_and_bias(search.ready)
    # What a budget asks for is tried before layers are left in float.
    if config.effort == "full" or not config.allows(search.best.score.agreement):
        search.rewrites()
        search.rounding()
    best = _narrowed(search, config)
    if config.allows(best.score.agreement):
        return best, {}
    saved = savings(search, best)
    return hold_agreement(search, best, list(saved), config), saved


def _narrowed(search: Search, config: QuantizeConfig) -> Candidate:
    """The best candidate within the bits and bytes asked for."""
    best = search.best
    if config.weight_bits == 4:
        names = tuple(node.name for node in weighted_nodes(best.source, search.dialect))
        best = search.in_four_bits(best, names)
    elif config.target_bytes is not None:
        room = len(canonical_json(table_to_dict(best.ranges))) + METADATA_BYTES
        room += METADATA_BYTES_A_NODE * len(weighted_nodes(best.source, search.dialect))
        best = meet_size(search, best, config.target_bytes - room)
    if not best.four_bit:
        return best
    return search.round_narrow(best)


def _report(
    model: Path,
    written: Path,
    best: Candidate,
    search: Search,
    sensitivity: Mapping[str, float],
    config: QuantizeConfig,
) -> QuantizeReport:
    dialect, feed, here = search.dialect, search.feed, gate.runs_here(search.dialect)
    speed = None
    if here and config.latency_seconds > 0:
        size = feed.spec.input_size
        speed = gate.paired_speed(model, written, size, config.latency_seconds)
    covered = (coverage if here else written_coverage)(written, left_float=best.left_float)
    return QuantizeReport(
        path=written,
        target=dialect.name,
        calibration_images=feed.calibration_images,
        checked_images=feed.checked_images,
        parity=parity_of(model, written, feed, fused=here),
        coverage=covered,
        ranges=best.rule,
        methods=_methods(best, dialect),
        bias_correction="bias" in best.steps,
        steps=best.steps,
        left_float=best.left_float,
        four_bit=best.four_bit,
        divergence=dict(search.divergence),
        sensitivity=sensitivity,
        speed=speed,
        verdict="float" if speed is not None and speed.slower else "quantized",
        advice=gate.advice(dialect, speed, covered, config),
        bytes=written.stat().st_size,
    )


def _methods(best: Candidate, dialect: Dialect) -> dict[str, int]:
    """How many of the tensors behind a Q have their range by which rule."""
    written = {node.input[0] for node in best.model.graph.node if node.op_type == "QuantizeLinear"}
    chosen = (
        best.ranges[name].of(symmetric=dialect.symmetric) for name in written & set(best.ranges)
    )
    return dict(sorted(Counter(one.method for one in chosen).items()))
